// What every page does: plays sounds in lists, rates, and says when the server is away.
import { audio, current, show } from "./player.js";
import { write } from "./writes.js";

document.addEventListener("click", async (event) => {
  const play = event.target.closest("[data-play]");
  if (play) {
    if (current() === play.dataset.play && !audio.paused) audio.pause();
    else await show(play.dataset.play, { plays: true });
  }
  const star = event.target.closest("[data-rate]");
  if (star) await rate(star.closest("[data-rates]"), Number(star.dataset.rate));
});

for (const kind of ["play", "pause", "ended"]) {
  audio.addEventListener(kind, () => {
    for (const button of document.querySelectorAll("[data-play]")) {
      button.setAttribute("aria-pressed", String(button.dataset.play === current() && !audio.paused));
    }
  });
}

// Give a rating; the same one again takes it away.
export async function rate(field, rating) {
  const wanted = Number(field.dataset.rating) === rating ? null : rating;
  await write("PUT", field.dataset.rates, { rating: wanted });
  field.dataset.rating = String(wanted ?? 0);
  for (const button of field.querySelectorAll("[data-rate]")) {
    const n = Number(button.dataset.rate);
    button.textContent = n <= (wanted ?? 0) ? "★" : "☆";
    button.setAttribute("aria-pressed", String(n === wanted));
  }
}

const live = document.getElementById("live");
document.body.addEventListener("htmx:sseError", () => say("connecting again"));
document.body.addEventListener("htmx:sseOpen", () => (live.hidden = true));

function say(sentence) {
  live.textContent = sentence;
  live.hidden = false;
}
addEventListener("unhandledrejection", (event) => say(event.reason.message));
document.body.addEventListener("htmx:responseError", (event) => {
  if (event.detail.requestConfig.verb !== "get") say(event.detail.xhr.responseText.slice(0, 300));
});

// A page that was asked for while the table was away.
if (document.body.dataset.away) setTimeout(() => location.reload(), 2000);
