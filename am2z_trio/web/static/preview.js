// What is typed into an editor, told while one types: the page is asked for with the form's fields, and its parts
// `data-preview-part` are shown. Without it the button "Preview" does the same.
"use strict";
for (const form of document.querySelectorAll("form[data-preview]")) {
  let timer = 0, asked = null;
  const tell = async () => {
    const query = new URLSearchParams(new FormData(form));
    query.delete("reason");
    query.delete("rev");
    const to = new URL(form.action);
    to.search = query;
    asked?.abort();
    const mine = asked = new AbortController();
    try {
      const answer = await fetch(to, { headers: { Accept: "text/html" }, signal: mine.signal });
      if (!answer.ok) return;
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of form.querySelectorAll("[data-preview-part]")) {
        const other = found.querySelector(`[data-preview-part="${CSS.escape(part.dataset.previewPart)}"]`);
        if (other) part.replaceChildren(...document.adoptNode(other).childNodes);
      }
      for (const field of form.querySelectorAll("input[name], select[name]")) {
        const other = found.querySelector(`form[data-preview] [name="${CSS.escape(field.name)}"]`);
        const wrong = other?.parentElement.querySelector(".wrong"), told = field.parentElement.querySelector(".wrong");
        told?.remove();
        field.toggleAttribute("aria-invalid", Boolean(wrong));
        if (wrong) field.after(document.adoptNode(wrong));
      }
      history.replaceState(null, "", to);
    } catch { /* the next key asks again */ }
  };
  form.addEventListener("input", (event) => {
    if (event.target.name === "reason") return;
    clearTimeout(timer);
    timer = setTimeout(tell, 250);
  });
}
