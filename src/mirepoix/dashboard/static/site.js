/* The keyboard, ages that count on, and updates that do not disturb a reader. The pages work without this script. */
"use strict";
(() => {
  const root = document.body.dataset.root;
  const begun = Date.now();

  /* Ages count on between two answers of the server. */
  const words = (seconds) => {
    const s = Math.max(0, Math.floor(seconds));
    const two = (n) => String(n).padStart(2, "0");
    const units = [[86400, "d", 3600, "h"], [3600, "h", 60, "m"], [60, "m", 1, "s"]];
    for (const [unit, letter, part, small] of units) {
      if (s >= unit) {
        const rest = Math.floor((s % unit) / part);
        return `${Math.floor(s / unit)}${letter}` + (rest ? ` ${two(rest)}${small}` : "");
      }
    }
    return `${s}s`;
  };
  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const tick = (all) => {
    const now = Date.now();
    for (const time of document.querySelectorAll("time")) {
      if (!time.dataset.read) {
        time.dataset.read = now;
        time.title = `${local.format(new Date(time.dateTime))} ${zone}`;
      }
      if (time.dataset.age !== undefined) {
        const text = words(Number(time.dataset.age) + (now - Number(time.dataset.read)) / 1000);
        if (text !== time.textContent) time.textContent = text;
      }
    }
  };
  tick();
  setInterval(tick, 1000);

  /* An update waits while somebody selects text, has the focus inside, or has scrolled down. */
  const fresh = document.getElementById("fresh");
  const away = document.getElementById("away");
  let held = null;
  const isReading = (live) => {
    const chosen = String(window.getSelection());
    const active = document.activeElement;
    return Boolean(chosen) || (live.contains(active) && active !== document.body) || Boolean(live.querySelector(".here"))
      || window.scrollY > 200;
  };
  const opened = () => [...document.querySelectorAll("#live details[open][id]")].map((one) => one.id);
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden) event.preventDefault();
  });
  let wasOpen = [];
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const live = document.getElementById("live");
    away.hidden = true;
    if (event.detail.xhr.status !== 200 || event.detail.target !== live) return;
    wasOpen = opened();
    if (isReading(live)) {
      event.detail.shouldSwap = false;
      held = event.detail.xhr.responseText;
      fresh.hidden = false;
    }
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    for (const id of wasOpen) document.getElementById(id)?.setAttribute("open", "");
    fresh.hidden = true;
    held = null;
    tick();
  });
  fresh.addEventListener("click", () => {
    if (held !== null) htmx.swap("#live", held, { swapStyle: "outerHTML" });
    fresh.hidden = true;
  });
  for (const name of ["htmx:responseError", "htmx:sendError"]) {
    document.body.addEventListener(name, (event) => {
      if (event.detail.xhr?.status === 401) window.location.reload();
      away.hidden = false;
    });
  }

  /* The keyboard. */
  const help = document.getElementById("help");
  const rows = () => [...document.querySelectorAll("[data-row]")];
  const go = (step) => {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.classList.contains("here"));
    all[at]?.classList.remove("here");
    const next = all[Math.min(all.length - 1, Math.max(0, at + step))];
    next.classList.add("here");
    next.scrollIntoView({ block: "nearest" });
    next.querySelector("a")?.focus({ preventScroll: true });
  };
  let isGoing = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (isGoing) {
      isGoing = false;
      const to = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
      if (to) to.click();
      return;
    }
    if (event.key === "/") { event.preventDefault(); document.getElementById("q")?.focus(); }
    else if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
    else if (event.key === "g") isGoing = true;
    else if (event.key === "?") help.showModal();
  });
  document.querySelector("[data-help]")?.addEventListener("click", () => help.showModal());
})();
