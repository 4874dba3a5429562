// What moves: the page's live parts, as the server sends them while somebody looks. Without it a page is what it
// was when it was asked for.
"use strict";
{
  const { $, $$, tellTimes, tellPicked } = window.am2z;
  const button = $("[data-hold]"), banner = $("#away");
  let last = "", held = false, open = null, wait = 1000, timer = 0, waiting = {};

  // --- what is shown ------------------------------------------------------------------------------------------

  // What acts is off while Redis is away: what would be asked for is not known to be so any more.
  const ACTIONS = "main form[method=post] button, main [data-dialog]";
  const refuse = (event) => {
    if (!document.body.hasAttribute("data-off") || !event.target.closest("form[method=post], [data-dialog]")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    banner.scrollIntoView({ block: "nearest" });
  };
  for (const name of ["submit", "click"]) document.addEventListener(name, refuse, true);

  const say = (state, text) => {
    document.body.toggleAttribute("data-away", state !== "live" && state !== "held");
    document.body.toggleAttribute("data-off", state === "away");
    for (const one of $$(ACTIONS)) one.setAttribute("aria-disabled", String(state === "away"));
    banner.hidden = state === "live" || state === "held";
    if (text) $("span", banner).textContent = text;
    button.textContent = { live: "Live", held: "Held", away: "Away", trouble: "Not live" }[state];
    button.classList.toggle("off", state === "held");
    button.classList.toggle("away-now", state === "away" || state === "trouble");
    button.setAttribute("aria-pressed", String(state === "held"));
  };
  const TEXTS = {
    away: "Redis is away. What is shown is what was so last, and nothing can be done; this page goes on by itself as soon as Redis is there again.",
    console: "The console cannot be reached. What is shown is what was so last, and nothing can be done; this page asks again by itself.",
    login: "The console no longer knows who asks: load this page again.",
    full: "Too many pages are looked at live. What is shown is what was so when it was loaded.",
  };

  // Nothing is taken away from under a pointer, a selection or a field that is being filled in.
  const isBusy = (part) => {
    const chosen = getSelection();
    const field = document.activeElement;
    return pressed || (chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode))
      || (part.contains(field) && field.matches("input:not([type=checkbox]), textarea, select"));
  };
  let pressed = false;
  addEventListener("pointerdown", () => { pressed = true; });
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => { setTimeout(() => { pressed = false; showWaiting(); }, 50); });
  addEventListener("focusout", () => setTimeout(() => showWaiting(), 50));
  document.addEventListener("selectionchange", () => { if (getSelection()?.isCollapsed) showWaiting(); });

  const showWaiting = () => {
    for (const [name, html] of Object.entries(waiting)) {
      const part = $(`[data-live="${CSS.escape(name)}"]`);
      if (part && isBusy(part)) continue;
      delete waiting[name];
      if (part) swap(part, html);
    }
  };
  const mark = (row) => row && (row.id || row.dataset.row || $("a[href]", row)?.getAttribute("href"));
  const swap = (part, html) => {
    const ticked = new Set($$("[data-pick]:checked", part).map((box) => box.value));
    const at = mark($("[data-at]", part));
    const unfolded = new Set($$("details[open][id]", part).map((one) => one.id));
    const focus = part.contains(document.activeElement) ? document.activeElement : null;
    const focused = focus && [focus.id && `#${CSS.escape(focus.id)}`, focus.getAttribute("href") && `[href="${CSS.escape(focus.getAttribute("href"))}"]`, focus.value && `[value="${CSS.escape(focus.value)}"]`].find(Boolean);
    const scrolled = $$(".scroll, pre", part).map((one) => [one.scrollLeft, one.scrollTop]);
    part.innerHTML = html;
    $$("[data-pick]", part).forEach((box) => { box.checked = ticked.has(box.value); });
    if (at) $$("tbody tr, [role=row]", part).find((row) => mark(row) === at)?.setAttribute("data-at", "");
    unfolded.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    $$(".scroll, pre", part).forEach((one, n) => { if (scrolled[n]) [one.scrollLeft, one.scrollTop] = scrolled[n]; });
    if (focused) $(focused, part)?.focus({ preventScroll: true });
    tellTimes(part);
    tellPicked();
    part.dispatchEvent(new CustomEvent("am2z:swapped", { bubbles: true }));
  };

  // --- what comes ---------------------------------------------------------------------------------------------

  const take = (block) => {
    let data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("id: ")) last = line.slice(4);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (!data) return;
    const look = JSON.parse(data);
    if (look.state === "ok") say("live");
    else say(look.state, look.state === "away" ? TEXTS.away : `This page is not live: ${look.text}.`);
    Object.assign(waiting, look.parts);
    showWaiting();
  };
  const listen = async () => {
    const mine = open = new AbortController();
    try {
      const headers = { Accept: "text/event-stream" };
      if (last) headers["Last-Event-ID"] = last;
      const answer = await fetch(location.href, { headers, signal: mine.signal, cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) { say("trouble", TEXTS.login); return; }
      if (!answer.ok || !answer.headers.get("content-type")?.startsWith("text/event-stream")) {
        say("trouble", TEXTS.full);
        wait = 30000;
      } else {
        wait = 1000;
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let left = "";
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          left += value;
          const blocks = left.split("\n\n");
          left = blocks.pop();
          blocks.forEach(take);
        }
      }
    } catch {
      if (mine.signal.aborted) return;
      say("away", TEXTS.console);
      wait = Math.min(wait * 2, 10000);
    }
    // Not all at once, where a console comes back that many look at.
    if (open === mine) timer = setTimeout(listen, wait * (0.5 + Math.random()));
  };
  const stop = () => { clearTimeout(timer); open?.abort(); open = null; };
  const follow = () => { stop(); if (!document.hidden && !held) listen(); };

  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
  button?.addEventListener("click", () => { held = !held; if (held) { stop(); say("held"); } else { say("live"); follow(); } });
  if (button) follow();
}
