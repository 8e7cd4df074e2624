// The page of a job: two sounds, one player, and one key that switches between them.
import { audio, follow, load, show } from "./player.js";
import { rate } from "./page.js";

const sounds = new Map([...document.querySelectorAll("[data-sound]")].map((part) => [part.dataset.sound, part]));
const toggle = document.getElementById("toggle");
const position = document.getElementById("position");
let chosen = sounds.keys().next().value;

async function choose(which) {
  chosen = which;
  for (const button of document.querySelectorAll("[data-which]")) {
    button.setAttribute("aria-pressed", String(button.dataset.which === which));
  }
  await show(sounds.get(which).dataset.src, { position: audio.currentTime, plays: !audio.paused });
}

async function playOrPause() {
  if (!audio.paused) audio.pause();
  else await show(sounds.get(chosen).dataset.src, { position: audio.ended ? 0 : audio.currentTime, plays: true });
}

function draw() {
  const share = audio.duration ? (100 * audio.currentTime) / audio.duration : 0;
  for (const [which, part] of sounds) {
    part.classList.toggle("is-heard", which === chosen);
    part.querySelector(".cursor").style.left = `${share}%`;
  }
  position.textContent = `${audio.currentTime.toFixed(2)} s of ${(audio.duration || 0).toFixed(2)} s`;
  toggle.textContent = audio.paused ? "Play" : "Pause";
  toggle.setAttribute("aria-pressed", String(!audio.paused));
}

if (toggle) {
  toggle.addEventListener("click", playOrPause);
  for (const button of document.querySelectorAll("[data-which]")) {
    button.addEventListener("click", () => choose(button.dataset.which));
  }
  for (const part of sounds.values()) {
    part.querySelector(".pictures").addEventListener("click", async (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      await choose(part.dataset.sound);
      audio.currentTime = ((event.clientX - box.left) / box.width) * audio.duration;
    });
    load(part.dataset.src);
  }
  follow(draw);
  choose(chosen);
}

document.addEventListener("keydown", async (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea")) return;
  const others = [...sounds.keys()].filter((which) => which !== chosen);
  const field = document.querySelector("[data-rates]");
  if (event.key === " " && toggle && !event.target.closest("button, a")) {
    event.preventDefault();
    await playOrPause();
  } else if (event.key.toLowerCase() === "a" && others.length) {
    await choose(others[0]);
  } else if (/^[1-5]$/.test(event.key) && !field.querySelector("[disabled]")) {
    await rate(field, Number(event.key));
  }
});
