// Before anything is drawn: the theme and the clock that this browser has chosen, so that nothing flickers.
"use strict";
{
  const kept = (name) => { try { return localStorage.getItem(`am2z-${name}`); } catch { return null; } };
  const theme = kept("theme"), clock = kept("clock");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  document.documentElement.dataset.clock = clock === "utc" ? "utc" : "local";
}
