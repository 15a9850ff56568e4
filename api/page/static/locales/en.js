/** English, the file that the others follow: `{name}` is filled in; `one` and `other` go by `{n}`. */
export default {
  "page.skip": "Skip to the content",
  "page.places": "Places",
  "page.close": "Close",
  "page.reload": "Load the page anew",
  "page.home": "All transcripts",
  "page.nowhere": "There is nothing at this address.",
  "page.failed": "That did not work",
  "page.upgraded": "The service has a new version",
  "page.upgraded_hint": "This page is from before. Load it anew to go on; nothing is lost.",
  "place.jobs": "Transcripts",
  "place.admin": "Administration",
  "place.settings": "Settings",
};
