// Everything works without this. Where a page has a part that changes, it is asked for again and put in its place.
"use strict";
(() => {
  const part = document.getElementById("live");
  if (!part) return;
  const seconds = Number(part.dataset.again) || 5;
  const bar = document.createElement("p");
  bar.className = "live-bar";
  const button = document.createElement("button");
  button.type = "button";
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  bar.append(button, " ", said);
  part.before(bar);
  let paused = false;

  const show = () => {
    button.textContent = paused ? "Follow the run" : "Stop following";
    said.textContent = paused ? "Stopped" : `Looks again every ${seconds} s`;
  };
  button.addEventListener("click", () => {
    paused = !paused;
    show();
  });

  // What somebody opened, scrolled or is at must stay as it is.
  const busy = (live) => live.contains(document.activeElement) && document.activeElement !== document.body;
  const keep = (from, to) => {
    const opened = from.querySelectorAll("details");
    to.querySelectorAll("details").forEach((each, at) => {
      each.open = Boolean(opened[at] && opened[at].open);
    });
    const scrolled = from.querySelectorAll(".scroll");
    to.querySelectorAll(".scroll").forEach((each, at) => {
      if (scrolled[at]) requestAnimationFrame(() => each.scrollTo(scrolled[at].dataset.x || 0, 0));
    });
  };
  const look = async () => {
    const live = document.getElementById("live");
    if (paused || document.hidden || busy(live) || getSelection().type === "Range") return;
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      const made = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
      if (!answer.ok || !made) throw new Error(String(answer.status));
      live.querySelectorAll(".scroll").forEach((each) => (each.dataset.x = each.scrollLeft));
      keep(live, made);
      live.replaceWith(made);
      show();
    } catch {
      said.textContent = "No answer: what is shown is old";
    }
  };
  show();
  setInterval(look, seconds * 1000);
})();
