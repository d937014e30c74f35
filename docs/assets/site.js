// What the theme leaves out for people who use a keyboard or a screen reader.
document$.subscribe(() => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code").forEach((region) => {
    region.tabIndex = 0;
  });
  document.querySelectorAll("nav").forEach((nav, index) => {
    const title = nav.querySelector(":scope > label")?.textContent.trim();
    nav.removeAttribute("aria-labelledby");
    nav.setAttribute("aria-label", `${title || nav.className.split(" ")[0].replace("md-", "")} ${index + 1}`);
  });
});
