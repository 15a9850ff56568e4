"""`python -m scripts.browsers`: Chromium and Firefox from Debian's packages, where they are missing and this is root on Debian.

Browsers that Playwright brings are not fetched: the page is tried in those that people have.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FIREFOX = ("firefox-esr", "firefox")

ARGUMENTS = [
    # as the sandbox of a container and of root is another; and a browser that asks nobody outside for anything
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    # a list given twice is the last one's: as Playwright has it, and without the popups of the address bar, which are a
    # process more for each window, and as much work as a page of ours
    (
        "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,AvoidUnnecessaryBeforeUnloadCheckSync,"
        "DestroyProfileOnBrowserClose,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,LensOverlay,MediaRouter,PaintHolding,"
        "ThirdPartyStoragePartitioning,AvoidCorsURLLoaderRestartOnRedirect,OptimizationHints,NetworkTimeServiceQuerying,"
        "AimEnabled,PreconnectToSearch"
    ),
]
"""For Chromium."""


def find(names: tuple[str, ...]) -> str | None:
    """The first of these programs that is there."""
    return next((path for name in names if (path := shutil.which(name))), None)


def main() -> int:
    wanted = [names[0] for names in (CHROMIUM, FIREFOX) if find(names) is None]
    if not wanted:
        return 0
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        print(
            f"Not installed: {', '.join(wanted)}. Tests of the page that need them are skipped here.", file=sys.stderr
        )
        return 0
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([apt, "update", "-qq"], env=environment, check=True)
    return subprocess.run(
        [apt, "install", "-y", "-qq", "--no-install-recommends", *wanted],
        check=False,
        env=environment,
        stdout=sys.stderr,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
