"use strict";
/* Two pages of networks side by side. Each reports its episode and step, which are passed to the other and kept in the
address. A page that starts is given what is shown already; without an address that is what the first page shows. */
(() => {
  const frames = [...document.querySelectorAll("iframe")].map((frame) => frame.contentWindow);
  let shown = location.hash.slice(1), address = 0;

  window.addEventListener("message", ({ source, data }) => {
    const from = frames.indexOf(source);
    if (from < 0 || typeof data?.shown !== "string") return;
    if (data.starts && shown) source.postMessage(shown, "*");
    else if (!data.starts || from === 0) {
      shown = data.shown;
      frames[1 - from].postMessage(shown, "*");
      keepAddress();
    }
  });

  function keepAddress() {
    clearTimeout(address);
    address = setTimeout(() => {
      try { window.history.replaceState(null, "", `#${shown}`); } catch { /* a page within a page has no address of its own */ }
    }, 150);
  }

  // Keys are for the first page. A page that is not in front when it has loaded is given them with its first key.
  for (const event of ["load", "focus", "keydown"]) window.addEventListener(event, () => frames[0].focus());

  window.addEventListener("hashchange", () => {
    if (location.hash.slice(1) === shown) return;
    shown = location.hash.slice(1);
    for (const frame of frames) frame.postMessage(shown, "*");
  });
})();
