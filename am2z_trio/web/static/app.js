// The console's behaviour: times, theme, keys, dialogs, palette, lists. No framework, no inline handler, and
// nothing that a page could not do without: every link and form works without it. `live.js` has what moves.
"use strict";

const root = document.documentElement;
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const keep = (name, value) => { try { localStorage.setItem(`am2z-${name}`, value); } catch { /* private window */ } };

// --- times: <time datetime data-show="time|full|ago|lasting">, in local time or UTC --------------------------------

const two = (n) => String(n).padStart(2, "0");
const far = (s) => {
  const a = Math.abs(s);
  if (a < 60) return `${Math.round(a)} s`;
  if (a < 600) return `${Math.floor(a / 60)} m ${two(Math.floor(a % 60))} s`;
  if (a < 3600) return `${Math.floor(a / 60)} m`;
  if (a < 86400) return `${Math.floor(a / 3600)} h ${two(Math.floor((a % 3600) / 60))} m`;
  return `${Math.floor(a / 86400)} d ${two(Math.floor((a % 86400) / 3600))} h`;
};
// The server's clock counts, not the browser's: what it says of now, and how long ago it has said it.
const ahead = Number(document.body?.dataset.now || Date.now()) - Date.now();
const tellTime = (element) => {
  const at = new Date(element.dateTime);
  if (Number.isNaN(at.getTime())) return;
  const utc = root.dataset.clock === "utc", show = element.dataset.show;
  const get = (part) => at[`get${utc ? "UTC" : ""}${part}`]();
  const clock = `${two(get("Hours"))}:${two(get("Minutes"))}:${two(get("Seconds"))}`;
  const day = `${get("FullYear")}-${two(get("Month") + 1)}-${two(get("Date"))}`;
  let text = show === "time" ? clock : `${day} ${clock}`;
  if (show === "ago" || show === "lasting") {
    const s = (Date.now() + ahead - at) / 1000;
    text = show === "lasting" ? far(Math.max(0, s)) : s >= 1 ? `${far(s)} ago` : s > -1 ? "now" : `in ${far(s)}`;
  }
  if (element.textContent !== text) element.textContent = text;
};
const tellTimes = (within = document) => $$("time[datetime]", within).forEach(tellTime);
setInterval(() => { if (!document.hidden) $$('time[data-show="ago"], time[data-show="lasting"]').forEach(tellTime); }, 1000);

// --- dialogs: those of the page, and pages that are asked for from another one ------------------------------

const openDialog = (id) => {
  const dialog = document.getElementById(id);
  if (dialog && !dialog.open) { dialog.showModal(); $("input, textarea, select", dialog)?.focus(); }
};
const openPage = async (link) => {
  try {
    const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    const body = $("[data-dialog-body]", found);
    if (!body) { location.href = link.href; return; }
    const dialog = $("#asked");
    dialog.replaceChildren(document.adoptNode(body));
    dialog.setAttribute("aria-label", $("h1, h2", body)?.textContent || "");
    tellTimes(dialog);
    dialog.showModal();
    $("input:not([type=hidden]), textarea, select, button", dialog)?.focus();
  } catch { location.href = link.href; }
};

// --- keys ------------------------------------------------------------------------------------------------

const rows = () => $$("main tbody tr, main [role=row]").filter((row) => row.offsetParent && !row.closest("thead, .treehead"));
let going = false;
const here = () => $("[data-at]");
const go = (step) => {
  const all = rows();
  if (!all.length) return;
  const now = all.indexOf(here());
  const next = all[Math.max(0, Math.min(all.length - 1, now < 0 ? 0 : now + step))];
  all.forEach((row) => row.toggleAttribute("data-at", row === next));
  next.scrollIntoView({ block: "nearest" });
};
const press = (key) => {
  // The row that one stands on first, then the page.
  const quoted = CSS.escape(key);
  const row = here();
  const target = (row && $(`[data-key="${quoted}"]`, row)) || $$(`[data-key="${quoted}"]`).find((one) => !one.closest("tbody, [role=row]"));
  if (!target) return false;
  target.click();
  return true;
};
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "k") { event.preventDefault(); openDialog("palette"); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog[open]")) return;
  if (going) {
    going = false;
    const link = $(`[data-go="${CSS.escape(event.key)}"]`);
    if (link) { event.preventDefault(); location.href = link.href; }
    return;
  }
  const filter = $(".filter input:not([type=hidden])");
  switch (event.key) {
    case "/": event.preventDefault(); filter ? filter.focus() : openDialog("palette"); break;
    case "?": event.preventDefault(); openDialog("keys"); break;
    case "g": going = true; setTimeout(() => { going = false; }, 1500); break;
    case ".": $("[data-hold]")?.click(); break;
    case "j": go(1); break;
    case "k": go(-1); break;
    case "x": { const box = here() && $("[data-pick]", here()); if (box) box.click(); break; }
    case "Enter": { const link = here() && !event.target.closest("a, button") && $("a[href]", here()); if (link) { event.preventDefault(); link.click(); } break; }
    default: if (event.key.length === 1 || event.key.startsWith("Arrow")) { if (press(event.key)) event.preventDefault(); }
  }
});

// --- clicks ----------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-open], [data-close], [data-theme-next], [data-clock-next], [data-copy], [data-dialog]");
  if (!target) return;
  if (target.dataset.open) { event.preventDefault(); openDialog(target.dataset.open); }
  else if ("close" in target.dataset && target.closest("dialog")) { event.preventDefault(); target.closest("dialog").close(); }
  else if ("dialog" in target.dataset && !event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); openPage(target); }
  else if ("themeNext" in target.dataset) {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    keep("theme", root.dataset.theme);
  } else if ("clockNext" in target.dataset) {
    root.dataset.clock = root.dataset.clock === "utc" ? "local" : "utc";
    keep("clock", root.dataset.clock);
    tellClock();
    tellTimes();
  } else if (target.dataset.copy) navigator.clipboard?.writeText(target.dataset.copy).then(() => { target.title = "Copied"; });
});
const tellClock = () => $$("[data-clock-next]").forEach((button) => { button.textContent = root.dataset.clock === "utc" ? "UTC" : "Local"; });

// --- lists: what is ticked, and the bar of what can be done with it ------------------------------------------

const picked = () => $$("[data-pick]").filter((box) => box.checked);
const tellPicked = () => {
  const n = picked().length;
  $$("[data-picked]").forEach((bar) => { bar.hidden = n === 0; });
  $$("[data-picked-count]").forEach((one) => { one.textContent = n.toLocaleString("en"); });
  $$("[data-pick]").forEach((box) => box.closest("tr")?.setAttribute("aria-selected", String(box.checked)));
};
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-all]")) $$("[data-pick]").forEach((box) => { box.checked = event.target.checked; });
  if (event.target.matches("[data-all], [data-pick]")) tellPicked();
  if (event.target.matches("[data-submit]")) event.target.form?.requestSubmit();
});
// A form is sent once, however often one clicks.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "1";
  setTimeout(() => { delete form.dataset.sent; }, 5000);
});

// --- tabs within a page, and rows that fold ------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const tab = event.target.closest("[role=tab]");
  if (tab) $$("[role=tab]", tab.closest("[role=tablist]")).forEach((one) => {
    one.setAttribute("aria-selected", String(one === tab));
    const panel = document.getElementById(one.getAttribute("aria-controls"));
    if (panel) panel.hidden = one !== tab;
  });
});

// --- palette -------------------------------------------------------------------------------------------------

const palette = $("#palette");
palette?.addEventListener("input", () => {
  const typed = $("input", palette).value.trim().toLowerCase();
  $$("li[data-command]", palette).forEach((line) => { line.hidden = typed !== "" && !line.textContent.toLowerCase().includes(typed); });
});
palette?.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  event.preventDefault();
  const stops = [$("input", palette), ...$$("li:not([hidden]) a", palette)];
  const at = stops.indexOf(document.activeElement);
  stops[Math.max(0, Math.min(stops.length - 1, at + (event.key === "ArrowDown" ? 1 : -1)))].focus();
});

window.am2z = { $, $$, tellTimes, tellPicked };
tellClock();
tellTimes();
tellPicked();
