#!/bin/sh
# SPDX-License-Identifier: MIT
# The pages in a real browser: pages of a run, of a comparison and of several runs are made and opened in headless Chromium, at the
# width of a phone and of a desk, light and dark, and printed.
#   sh tests/page.sh RAFT [FOLDER]      FOLDER: keep pages, screenshots and PDFs there; CHROMIUM=PROGRAM
# Fails when a page writes to the console, is wider than the screen, shows an empty picture, names an id that is not there, has
# something that cannot be reached or named, or when stepping through iterations does not show one of them at a time.
set -eu
raft=${1:?usage: sh tests/page.sh RAFT [FOLDER]}
for browser in ${CHROMIUM:-} chromium chromium-browser google-chrome; do command -v "$browser" > /dev/null && break; browser=; done
if [ -z "$browser" ]; then
    echo "page: skipped: there is no Chromium (CHROMIUM=PROGRAM names one)"
    exit 0
fi
folder=${2:-$(mktemp -d)}
mkdir -p "$folder"
[ $# -gt 1 ] || trap 'rm -rf "$folder"' EXIT
folder=$(cd "$folder" && pwd)

"$raft" demo --profile contract -o "$folder/demo" --force --quiet > /dev/null
"$raft" compare --profile contract -o "$folder/compare" --force --quiet --ppo.top-k 0 --ppo.top-p 1 --ppo.kl-beta 0 --arm base \
    --arm "bo3:best-of samples=3" --arm sft --arm raft --arm ppo > /dev/null
"$raft" report "$folder/compare/arms/raft-s1" "$folder/compare/arms/ppo-s1" -o "$folder/several.html" --force > /dev/null
cp "$folder/demo/report.html" "$folder/demo.html"
cp "$folder/compare/report.html" "$folder/compare.html"

# The judge: opens a page in a frame of some width and writes what is wrong with it.
cat > "$folder/judge.html" <<'JUDGE'
<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>judge</title><body><script>
const [page, width] = location.hash.slice(1).split(',');
const frame = document.createElement('iframe'), wrong = [];
frame.style.cssText = `width:${width}px;height:900px;border:0`;
frame.onload = () => {
    const doc = frame.contentDocument, root = doc.documentElement;
    const need = (good, what) => { if (!good) wrong.push(what); };
    need(doc.querySelectorAll('section').length > 5, 'fewer than six sections');
    need(root.scrollWidth <= root.clientWidth, `${root.scrollWidth} pixels wide on a screen of ${root.clientWidth}`);
    for (const svg of doc.querySelectorAll('svg[role=img]')) {
        const box = svg.getBoundingClientRect();
        need(!svg.checkVisibility() || (box.width > 20 && box.height > 5), 'an empty picture: ' + svg.outerHTML.slice(0, 60));
        need(svg.querySelector('title')?.textContent, 'a picture without a title');
    }
    for (const at of ['aria-labelledby', 'aria-describedby', 'for'])
        for (const e of doc.querySelectorAll(`[${at}]`))
            for (const id of e.getAttribute(at).split(/\s+/)) need(doc.getElementById(id), `${at} names ${id}, which is not there`);
    for (const a of doc.querySelectorAll('a[href^="#"]')) need(doc.getElementById(a.hash.slice(1)), `a link to ${a.hash}, which is not there`);
    for (const e of doc.querySelectorAll('a,summary,input')) {
        need(e.tabIndex >= 0, 'not reached by the keyboard: ' + e.outerHTML.slice(0, 60));
        need(e.textContent.trim() || e.labels?.[0]?.textContent.trim(), 'without a name: ' + e.outerHTML.slice(0, 60));
    }
    const steps = [...doc.querySelectorAll('.stepper input')], panels = [...doc.querySelectorAll('.stepper .panel')];
    need(steps.length > 1 && steps.length === panels.length, `${steps.length} iterations to step through, ${panels.length} panels`);
    steps.forEach((step, i) => {
        step.click();
        const shown = panels.map(p => getComputedStyle(p).display !== 'none');
        need(shown.filter(x => x).length === 1 && shown[i], `iteration ${i}: the panels shown are ${shown}`);
    });
    const result = document.createElement('pre');
    result.textContent = 'JUDGED ' + (wrong.length ? wrong.join('; ') : 'sound');
    document.body.replaceChildren(result);
};
frame.src = page;
document.body.append(frame);
</script></body></html>
JUDGE

limit=
if command -v timeout > /dev/null; then limit="timeout 120"; fi
browse() { $limit "$browser" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --allow-file-access-from-files \
    --enable-logging=stderr --log-level=0 --virtual-time-budget=10000 --user-data-dir="$folder/profile" "$@"; }
failed=0
for page in demo compare several; do
    for width in 360 1280; do
        browse --dump-dom "file://$folder/judge.html#$page.html,$width" > "$folder/dom" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
        judged=$(sed -n 's/.*JUDGED \([^<]*\)<.*/\1/p' "$folder/dom")
        said=$(grep -c 'CONSOLE' "$folder/log" || true)
        verdict=sound
        if [ "$judged" != sound ] || [ "$said" != 0 ]; then
            verdict="WRONG: ${judged:-the judge said nothing} ($said lines on the console)"
            failed=1
        fi
        echo "page: $page.html at $width pixels: $verdict"
        for scheme in 0 1; do # dark, light
            browse --blink-settings=preferredColorScheme=$scheme --window-size=$width,2400 --screenshot="$folder/$page-$width-$scheme.png" \
                "file://$folder/$page.html" > "$folder/log" 2>&1
            if grep CONSOLE "$folder/log"; then failed=1; fi
        done
        [ -s "$folder/$page-$width-0.png" ] && [ -s "$folder/$page-$width-1.png" ] || { echo "page: $page.html gives no picture"; failed=1; }
        if cmp -s "$folder/$page-$width-0.png" "$folder/$page-$width-1.png"; then echo "page: $page.html is the same in light and dark"; failed=1; fi
    done
    browse --print-to-pdf="$folder/$page.pdf" --no-pdf-header-footer "file://$folder/$page.html" > "$folder/log" 2>&1
    [ -s "$folder/$page.pdf" ] || { echo "page: $page.html cannot be printed"; failed=1; }
done
rm -rf "$folder/profile" "$folder/dom" "$folder/log"
exit $failed
