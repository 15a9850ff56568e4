"""`python -m tests.real.record`: take the figures of tests/real anew, after a change that is meant to change words.

Figures of recordings that are not here stay as they are. What changed is printed, so that it can be judged before it is kept.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.real.listening import FIGURES, MODELS, clips, listening, recorded


def main() -> None:
    kept = recorded() if FIGURES.exists() else {}
    for reason in clips()[1]:
        print(reason)
    for model in MODELS:
        with tempfile.TemporaryDirectory(prefix="parascribe-real-") as folder, listening(model, Path(folder)) as cases:
            heard = dict(cases)
        before = kept.setdefault(model, {"errors": {}, "mistaken": {}})
        spoken = {name: one for name, one in heard.items() if one.case.text(one.clips)}
        for name, one in spoken.items():
            rate = round(one.errors.rate, 2)
            if before["errors"].get(name) != rate:
                print(f"{model}: {name}: {before['errors'].get(name)} -> {rate} %: {one.result['text']}")
            before["errors"][name] = rate
            before["mistaken"].pop(name, None)
            if one.mistaken:
                print(f"{model}: {name}: taken for {one.mistaken}")
                before["mistaken"][name] = one.mistaken
        timed = [one.timing for one in spoken.values() if one.clips[0].words]
        if timed:
            together = sum(timed[1:], timed[0])
            for key, share in (("start_median", 50), ("start_p95", 95)):
                before[key] = round(1000 * together.percentile(share))
            print(
                f"{model}: starts of words off by {before['start_median']} ms (median), {before['start_p95']} ms (95th percentile)"
            )
    FIGURES.write_text(json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
