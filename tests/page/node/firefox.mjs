// The page in Debian's own Firefox, as one uses it: node firefox.mjs PROGRAM ADDRESS FILE. Prints what was seen as JSON.
// Playwright drives only a Firefox of its own; this speaks WebDriver BiDi, which every Firefox understands.
import puppeteer from "puppeteer-core";

const [program, address, file] = process.argv.slice(2);
// a machine without a sound card breaks off what is not silent
const browser = await puppeteer.launch({ browser: "firefox", executablePath: program, extraPrefsFirefox: { "media.volume_scale": "0.0" } });
const seen = { troubles: [] };
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  page.on("console", (said) => ["error", "warn"].includes(said.type()) && seen.troubles.push(said.text()));
  page.on("pageerror", (error) => seen.troubles.push(String(error)));
  await page.goto(address);
  seen.title = await (await page.waitForSelector("h1")).evaluate((it) => it.textContent);

  const input = await page.waitForSelector("input[type=file]:not([webkitdirectory])");
  await input.uploadFile(file);
  // others' jobs may be in the list
  const link = await page.waitForSelector(`main ::-p-xpath(.//a[contains(@href, "#/jobs/")][contains(., "${file.split("/").at(-1)}")])`);
  seen.address = await link.evaluate((it) => it.getAttribute("href"));
  await link.evaluate((it) => it.click());

  const button = await page.waitForSelector(".dock button.play");
  seen.text = await page.$eval(".text", (it) => it.textContent);
  await button.evaluate((it) => it.click());
  await page.waitForFunction(() => [...document.querySelectorAll("audio, video")].some((it) => it.currentTime > 0.5));
  seen.played = true;
} catch (error) {
  seen.failed = String(error);
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
