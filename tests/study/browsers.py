"""Look at a page in a real headless browser: what is clipped, what overlaps, what overflows."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROBE = """
<script>
const problems = [];
const page = document.documentElement;
if (page.scrollWidth > window.innerWidth + 1)
  problems.push(`page is ${page.scrollWidth} wide in ${window.innerWidth}`);
for (const svg of document.querySelectorAll('svg')) {
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
  const boxes = texts.map(t => t.getBoundingClientRect());
  boxes.forEach((a, i) => {
    if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1
        || a.bottom > frame.bottom + 1)
      problems.push(`clipped: ${texts[i].textContent.trim()}`);
    for (let j = 0; j < i; j++) {
      const b = boxes[j];
      const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      const least = Math.min(a.height, b.height, a.width, b.width);
      if (x > 0.25 * least && y > 0.35 * least)
        problems.push(`overlap: ${texts[i].textContent.trim()} / ${texts[j].textContent.trim()}`);
    }
  });
}
for (const tile of document.querySelectorAll('.tile, h1, td'))
  if (tile.scrollWidth > tile.clientWidth + 1 && getComputedStyle(tile).display !== 'inline')
    problems.push(`overflow: ${tile.textContent.trim()}`);
const probe = document.createElement('pre');
probe.id = 'probe';
probe.textContent = JSON.stringify({
  problems, opened_ms: performance.now(),
  figures: document.querySelectorAll('svg').length, width: window.innerWidth,
  dark: matchMedia('(prefers-color-scheme: dark)').matches,
  ink: getComputedStyle(document.body).color,
});
parent.document.body.append(probe);
</script>
"""
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def problems_in(page_text: str, tmp_path: Path, width: int, dark: bool) -> dict[str, Any]:
    """Open a page at a width, light or dark; return what its probe found.

    Keys: problems (texts), opened_ms (until all was laid out), figures, width, dark, ink. Skips the
    test where there is no browser.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium here; .ci/run installs it")
    page = tmp_path / "page.html"
    # In a frame of that width: a window is never narrower than 500 px.
    inner = html.escape(page_text.replace("</body>", PROBE + "</body>"), quote=True)
    frame = f'<iframe srcdoc="{inner}" style="width:{width}px;height:900px;border:0"></iframe>'
    page.write_text(f'<!doctype html><meta charset="utf-8"><body>{frame}</body>')
    scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command = [browser, *QUIET, *scheme, "--window-size=1400,900"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    ended = subprocess.run(
        [*command, profile, "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="probe">(.*?)</pre>', ended.stdout, flags=re.S)
    assert found is not None
    seen = json.loads(html.unescape(found[1]))
    return dict(seen)
