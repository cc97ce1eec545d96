// The report works without this. With it, sorting and paging fetch one section instead of the whole page, pictures
// open on top of the page, and a run that goes on says when there is news.
"use strict";

const NEWS_EVERY_MS = 10000;

const say = (words) => { document.getElementById("said").textContent = words; };

async function load(url) {
  const answer = await fetch(url, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(answer.statusText);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function swap(url, section, focused) {
  section.setAttribute("aria-busy", "true");
  try {
    const fresh = (await load(url)).getElementById(section.id);
    section.replaceWith(document.adoptNode(fresh));
    history.pushState(null, "", url);
    fresh.querySelector(focused)?.focus({ preventScroll: true });
    say((fresh.querySelector("p.quiet")?.textContent || "Done").trim());
  } catch {
    location.assign(url);
  }
}

// What was pressed is focused again in the new section, so that the keyboard stays where it was.
function twin(link, section) {
  const header = link.closest("th");
  if (header) return `th:nth-child(${[...header.parentNode.children].indexOf(header) + 1}) a`;
  const label = link.closest("nav")?.getAttribute("aria-label");
  return label && section.querySelector(`nav[aria-label="${label}"]`) ? `nav[aria-label="${label}"] a` : "h2";
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-swap]");
  const section = link?.closest("section[id]");
  if (!section || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  swap(link.href, section, twin(link, section));
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-swap]");
  if (!form) return;
  event.preventDefault();
  const url = new URL(form.action);
  url.search = new URLSearchParams(new FormData(form)).toString();
  swap(url.href, form.closest("section"), "#words");
});

window.addEventListener("popstate", () => location.reload());

// -- pictures

function lightbox() {
  const dialog = document.createElement("dialog");
  dialog.className = "lightbox";
  dialog.setAttribute("aria-label", "Screenshot");
  const picture = document.createElement("img");
  const controls = document.createElement("div");
  controls.className = "controls";
  const words = document.createElement("p");
  controls.append(words);
  const button = (label, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = label;
    made.addEventListener("click", act);
    controls.append(made);
  };
  let place = 0;
  const shots = () => [...document.querySelectorAll("a[data-shot]")];
  const show = (wanted) => {
    const all = shots();
    place = (wanted + all.length) % all.length;
    picture.src = all[place].href;
    picture.alt = all[place].querySelector("img").alt;
    words.textContent = `${place + 1} of ${all.length} · ${picture.alt}`;
  };
  button("← Before", () => show(place - 1));
  button("Close", () => dialog.close());
  button("After →", () => show(place + 1));
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(place - 1);
    if (event.key === "ArrowRight") show(place + 1);
  });
  dialog.addEventListener("close", () => shots()[place]?.focus());
  picture.addEventListener("click", () => dialog.close());
  dialog.append(picture, controls);
  document.body.append(dialog);
  return (link) => { show(shots().indexOf(link)); dialog.showModal(); };
}

let open = null;
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-shot]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  open = open || lightbox();
  open(link);
});

// -- a run that goes on

const going = document.querySelector("section.going");
if (going) {
  const refresh = going.querySelector("a[data-refresh]");
  const timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      const fresh = (await load(location.href)).querySelector("section.going");
      if (fresh?.dataset.mark === going.dataset.mark) return;
      clearInterval(timer);
      refresh.textContent = "Show what is new";
      say("There is news of this run.");
    } catch { /* the next look may work */ }
  }, NEWS_EVERY_MS);
}
