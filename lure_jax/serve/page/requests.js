// Talking to the server: every failure becomes an Error whose message is one sentence for the page.

const RETRIES = 4;

export async function getJson(path) {
  return (await send(path, {})).json();
}

export async function getBlob(path) {
  return (await send(path, {})).blob();
}

/** Posts a form; a full queue is tried again, with `onWait(seconds)` told. */
export async function post(path, fields, accept, onWait) {
  const body = new FormData();
  for (const [name, value] of fields) {
    if (value instanceof Blob) body.append(name, value, value.name || name);
    else body.append(name, value);
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await send(path, { method: "POST", body, headers: { Accept: accept } });
    } catch (error) {
      if (!error.retryAfter || attempt === RETRIES) throw error;
      onWait?.(error.retryAfter);
      await new Promise((resolve) => setTimeout(resolve, 1000 * error.retryAfter));
    }
  }
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server did not answer; it may have been stopped, or the connection was lost.");
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  const error = new Error(told.error || `The server answered with ${response.status}.`);
  error.retryAfter = Number(response.headers.get("Retry-After")) || 0;
  throw error;
}

export function megabytes(bytes) {
  return `${(bytes / 2 ** 20).toPrecision(3).replace(/\.?0+$/, "")} MB`;
}
