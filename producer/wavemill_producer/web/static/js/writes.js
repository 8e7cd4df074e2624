// Writes to the API, with the page's CSRF token.
export async function write(method, url, content) {
  const answer = await fetch(url, {
    method,
    headers: { "content-type": "application/json", "x-csrf-token": document.body.dataset.csrf },
    body: JSON.stringify(content),
  });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
}
