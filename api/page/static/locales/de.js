/** Deutsch. @satisfies {Record<import("../app/core/words.js").Key, import("../app/core/words.js").Text>} */
export default {
  "page.skip": "Zum Inhalt springen",
  "page.places": "Bereiche",
  "page.close": "Schließen",
  "page.reload": "Seite neu laden",
  "page.home": "Alle Transkripte",
  "page.nowhere": "Unter dieser Adresse gibt es nichts.",
  "page.failed": "Das hat nicht geklappt",
  "page.upgraded": "Der Dienst hat eine neue Version",
  "page.upgraded_hint": "Diese Seite ist noch die alte. Bitte neu laden; es geht nichts verloren.",
  "place.jobs": "Transkripte",
  "place.admin": "Verwaltung",
  "place.settings": "Einstellungen",
};
