// Everything works without this, but not by itself: a run is followed, a search goes on, what is marked is shown.
"use strict";
(() => {
  const asked = async (address) => {
    const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(10000) });
    return { answer, page: new DOMParser().parseFromString(await answer.text(), "text/html") };
  };
  // A button that stops what goes on by itself, and a line that says how that is.
  const bar = (before) => {
    const made = document.createElement("p");
    made.className = "live-bar";
    const button = document.createElement("button");
    button.type = "button";
    const said = document.createElement("span");
    said.setAttribute("role", "status");
    made.append(button, " ", said);
    before.before(made);
    return { made, button, said };
  };

  const follow = (part) => {
    const seconds = Number(part.dataset.again) || 5;
    const { button, said } = bar(part);
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
        const { answer, page } = await asked(location.href);
        const made = page.getElementById("live");
        if (!answer.ok || !made) throw new Error(page.querySelector("[role=alert]")?.textContent || "no answer");
        live.querySelectorAll(".scroll").forEach((each) => (each.dataset.x = each.scrollLeft));
        keep(live, made);
        live.replaceWith(made);
        show();
      } catch (error) {
        live.classList.add("old");
        said.textContent = `What is shown is old: ${error.name === "Error" ? error.message : "no answer"}`;
      }
    };
    show();
    setInterval(look, seconds * 1000);
  };

  const search = async (found) => {
    const onward = () => document.getElementById("onward");
    if (!onward()) return;
    const most = Number(found.dataset.most);
    const { made, button, said } = bar(found);
    let stopped = false;
    button.textContent = "Stop looking";
    button.addEventListener("click", () => (stopped = true));
    said.textContent = "Looks further";
    // It is read out once it ends, not at every step.
    const looked = document.getElementById("looked");
    looked.setAttribute("aria-live", "off");
    while (!stopped && onward() && found.children.length < most) {
      let next;
      try {
        next = await asked(onward().querySelector("a").href);
      } catch {
        break;
      }
      if (next.answer.status === 202) {
        await new Promise((resolve) => setTimeout(resolve, 1000));
        continue;
      }
      const more = next.page.getElementById("found");
      if (!next.answer.ok || !more) break;
      found.append(...more.children);
      looked.replaceChildren(...next.page.getElementById("looked").childNodes);
      const n = found.children.length;
      document.getElementById("hits").textContent = `${n} ${n === 1 ? "text" : "texts"}`;
      const then = next.page.getElementById("onward");
      if (then) onward().replaceWith(then);
      else onward().remove();
    }
    looked.removeAttribute("aria-live");
    made.remove();
  };

  const live = document.getElementById("live");
  if (live) follow(live);
  const found = document.getElementById("found");
  if (found) search(found);
  const marked = document.getElementById("marked");
  if (marked) {
    const box = marked.parentElement;
    box.scrollTop = marked.offsetTop - box.offsetTop - box.clientHeight / 4;
  }
})();
