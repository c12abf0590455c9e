import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** A response that is not 2xx: the server's `Problem`. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly hint: string = '',
    readonly code: string = ''
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

function field(body: unknown, name: string): string {
  const value: unknown =
    typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[name] : undefined;
  return typeof value === 'string' ? value : '';
}

/**
 * Call `ilab/api/<path>` of this Jupyter server and give the parsed answer.
 *
 * Throws an ApiError for every answer that is not 2xx; status 0 means that the server was not reached.
 */
export async function requestAPI<T>(
  settings: ServerConnection.ISettings,
  path: string,
  init: RequestInit = {}
): Promise<T> {
  const url = URLExt.join(settings.baseUrl, 'ilab/api', path);
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(url, { cache: 'no-store', ...init }, settings);
  } catch {
    throw new ApiError(0, 'The Jupyter server does not answer.', 'Check that it is still running.');
  }
  const text = await response.text();
  let body: unknown = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    // A proxy in between answers in HTML; only its status is known.
  }
  if (!response.ok) {
    throw new ApiError(
      response.status,
      field(body, 'message') || `The server answered ${response.status} ${response.statusText}.`,
      field(body, 'hint'),
      field(body, 'code')
    );
  }
  return body as T;
}

/** `requestAPI` with a JSON body. */
export function postAPI<T>(
  settings: ServerConnection.ISettings,
  path: string,
  body: unknown = {}
): Promise<T> {
  return requestAPI<T>(settings, path, { method: 'POST', body: JSON.stringify(body) });
}

/** What to show of anything thrown: one sentence and the next step. */
export function describeError(error: unknown): string {
  if (error instanceof ApiError) {
    return `${error.message} ${error.hint}`.trim();
  }
  return error instanceof Error ? error.message : String(error);
}
