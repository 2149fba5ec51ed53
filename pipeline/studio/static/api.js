// Requests to the studio's server. Whatever changes something has the token of this page.

const token = document.querySelector('meta[name="studio-token"]').content;

/** This page, as other pages of the same studio are told of it. */
export const page = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2);

/** An answer that is not the one that was asked for: `status` and the whole answer in `content`. */
export class RefusedError extends Error {
  constructor(status, content) {
    super(content.error || `The studio answered ${status}.`);
    this.status = status;
    this.content = content;
  }

  /** Whether this page is of a studio that was ended and started again since, which takes no changes of it. */
  get isOfEarlierStudio() {
    return this.status === 403 && this.message.includes("the token of this page is not the studio's");
  }
}

async function answered(response) {
  if (response.ok) return response;
  let content = {};
  try {
    const text = await response.text();
    content = text.startsWith("{") ? JSON.parse(text) : { error: text.trim() };
  } catch {
    // The status is all that is known.
  }
  throw new RefusedError(response.status, content);
}

async function fetched(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RefusedError(0, { error: "The studio does not answer: was it ended? What it confirmed is on disk." });
  }
}

/** Get JSON. */
export async function get(path, options = {}) {
  return (await answered(await fetched(path, options))).json();
}

/** Get bytes, as an ArrayBuffer. */
export async function getBytes(path, options = {}) {
  return (await answered(await fetched(path, options))).arrayBuffer();
}

/** Post a JSON object; returns the response, whose content the caller reads. */
export async function postForResponse(path, body = {}) {
  const headers = { "content-type": "application/json", "x-studio-token": token };
  return answered(await fetched(path, { method: "POST", headers, body: JSON.stringify({ page, ...body }) }));
}

/** Post a JSON object; returns the JSON of the answer. */
export async function post(path, body = {}) {
  return (await postForResponse(path, body)).json();
}
