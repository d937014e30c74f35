/* The charts of the queues. Without data, or without this script, the page has its table only. */
"use strict";
(() => {
  const section = document.getElementById("charts");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colours = () => ["--main", "--busy", "--wait", "--grave", "--bad", "--quiet"].map(css);
  let drawn = [];

  const draw = (id, found, field) => {
    const to = document.getElementById(id);
    to.replaceChildren();
    const axis = { stroke: css("--quiet"), grid: { stroke: css("--edge"), width: 1 }, ticks: { stroke: css("--edge"), width: 1 } };
    const named = found.queues.map((queue, n) => ({
      label: queue.queue, stroke: colours()[n % 6], width: 2, spanGaps: true, points: { show: true, size: 4 },
    }));
    return new uPlot({
      width: to.clientWidth || 320, height: 220, legend: { live: false }, cursor: { show: false },
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      series: [{}, ...named], axes: [axis, { ...axis, size: 56 }],
    }, [found.at, ...found.queues.map((queue) => queue[field])], to);
  };
  const load = async () => {
    if (document.hidden) return;
    const answer = await fetch(section.dataset.from, { headers: { "HX-Request": "true" } });
    if (!answer.ok) return;
    const found = await answer.json();
    if (!found.queues.length) return;
    section.hidden = false;
    document.getElementById("chart-zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
    drawn.forEach((chart) => chart.destroy());
    drawn = [draw("chart-ended", found, "ended"), draw("chart-slowest", found, "slowest_s")];
  };
  load();
  setInterval(load, 30000);
  window.addEventListener("resize", () => drawn.forEach((chart) => {
    chart.setSize({ width: chart.root.parentElement.clientWidth, height: 220 });
  }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", load);
})();
