// The tree without loading the page anew: scopes fold and are chosen by keys and clicks, and the address says what
// is folded and chosen. Without it each of these is a link to that address.
"use strict";
{
  const { $, $$, tellTimes } = window.am2z;
  let asked = null;
  const at = () => $(".tree [data-at]");
  const narrow = matchMedia("(max-width: 1180px)");
  const go = async (href, chooses = false) => {
    asked?.abort();
    const mine = asked = new AbortController();
    history.replaceState(null, "", href);
    try {
      const answer = await fetch(href, { headers: { Accept: "text/html" }, signal: mine.signal });
      if (!answer.ok) { location.href = href; return; }
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      const row = at()?.dataset.row;
      for (const name of ["tree", "side"]) {
        const part = $(`[data-live="${name}"]`), other = $(`[data-live="${name}"]`, found);
        if (part && other) { part.replaceChildren(...document.adoptNode(other).childNodes); tellTimes(part); }
      }
      for (const link of $$(".seg a, .filter")) {
        const other = $(".seg", found) && $$(".seg a, .filter", found)[$$(".seg a, .filter").indexOf(link)];
        if (other?.href) link.href = other.href;
      }
      if (row) $(`.tree [data-row="${CSS.escape(row)}"]`)?.setAttribute("data-at", "");
      if (chooses && narrow.matches) $('[data-live="side"]').scrollIntoView({ block: "start" });
      // What is sent from now on is of this address.
      document.dispatchEvent(new Event("visibilitychange"));
    } catch (error) { if (error.name !== "AbortError") location.href = href; }
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".tree [data-tw], .tree [data-choose], [data-live=side] a[href*='at=']");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      const row = link.closest("[role=row]");
      if (row) $$(".tree [data-at]").forEach((one) => one.removeAttribute("data-at"));
      row?.setAttribute("data-at", "");
      go(link.href, "choose" in link.dataset);
      return;
    }
    const row = event.target.closest(".tree [role=row]");
    if (row && !event.target.closest("a, button, form")) $("[data-choose]", row)?.click();
  });
  // Before the keys of all pages: here Enter chooses, and opens what is chosen.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog[open]")) return;
    const row = at();
    if (event.key === "Enter" && row && !event.target.closest("a, button")) {
      event.preventDefault();
      event.stopPropagation();
      const open = row.getAttribute("aria-selected") === "true" && $('[data-key="o"]', row);
      (open || $("[data-choose]", row) || $("a[href]", row))?.click();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && row) {
      event.preventDefault();
      event.stopPropagation();
      document.dispatchEvent(new KeyboardEvent("keydown", { key: event.key === "ArrowDown" ? "j" : "k" }));
    } else if (event.key === "ArrowLeft" && row && row.getAttribute("aria-expanded") !== "true") {
      event.preventDefault();
      event.stopPropagation();
      const level = Number(row.getAttribute("aria-level"));
      let outer = row.previousElementSibling;
      while (outer && Number(outer.getAttribute("aria-level") || 0) >= level) outer = outer.previousElementSibling;
      if (outer?.hasAttribute("aria-level")) { row.removeAttribute("data-at"); outer.setAttribute("data-at", ""); outer.scrollIntoView({ block: "nearest" }); }
    }
  }, true);
}
