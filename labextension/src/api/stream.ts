import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { DisposableDelegate, IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import type { Job } from './contract';

/** A frame about one watched job: an event of its worker, a piece of its log, or its end. */
export interface IJobFrame {
  job: string;
  seq?: number;
  type: string;
  [field: string]: unknown;
}

/** A piece of a log, as the stream carries it. */
export interface ILogFrame extends IJobFrame {
  type: 'log';
  attempt: number;
  offset: number;
  next_offset: number;
  text: string;
}

/** The next byte of a log wanted, and the attempt that it is counted in. */
export interface ILogCursor {
  attempt: number;
  offset: number;
}

interface IWatch {
  /** A reconnection continues there. */
  next: ILogCursor;
  receive: (frame: IJobFrame) => void;
}

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;
const WATCH_RETRY_MS = 3_000;

export function isLogFrame(frame: IJobFrame): frame is ILogFrame {
  return (
    frame.type === 'log' &&
    typeof frame.text === 'string' &&
    typeof frame.attempt === 'number' &&
    typeof frame.offset === 'number' &&
    typeof frame.next_offset === 'number'
  );
}

/**
 * One WebSocket for the whole page: the job list and any number of watched logs.
 *
 * It reconnects by itself, with growing pauses and jitter, and every watch continues from its cursor, so that
 * nothing is shown twice and nothing is missed. A closed socket never means that a job has ended.
 */
export class JobStream implements IDisposable {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  /** True while the socket is open. */
  get connected(): boolean {
    return this.socket?.readyState === 1;
  }

  /** `connected` changed. */
  get connectionChanged(): ISignal<this, boolean> {
    return this._connectionChanged;
  }

  /** Jobs that were added or have changed. */
  get jobsChanged(): ISignal<this, readonly Job[]> {
    return this._jobsChanged;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Connect now; later calls do nothing. */
  open(): void {
    if (this._isDisposed || this.socket) {
      return;
    }
    let url = URLExt.join(this.settings.wsUrl, 'ilab/api/stream');
    if (this.settings.appendToken && this.settings.token) {
      url += `?token=${encodeURIComponent(this.settings.token)}`;
    }
    const socket = new this.settings.WebSocket(url);
    this.socket = socket;
    socket.onopen = () => {
      this.retryMs = FIRST_RETRY_MS;
      this.send({ list: true });
      for (const [id, watch] of this.watches) {
        this.sendWatch(id, watch);
      }
      this._connectionChanged.emit(true);
    };
    socket.onmessage = (message: MessageEvent) => this.receive(String(message.data));
    socket.onclose = () => this.lost(socket);
    socket.onerror = () => this.lost(socket);
  }

  /**
   * Receive the frames of a job's log from `next` on, and of later attempts, until the result is disposed of.
   *
   * A job has one watch on this page; a second one takes the place of the first.
   */
  watch(id: string, next: ILogCursor, receive: (frame: IJobFrame) => void): IDisposable {
    const watch: IWatch = { next, receive };
    this.watches.set(id, watch);
    if (this.connected) {
      this.sendWatch(id, watch);
    } else {
      this.open();
    }
    return new DisposableDelegate(() => {
      if (this.watches.get(id) === watch) {
        this.watches.delete(id);
        this.send({ unwatch: id });
      }
    });
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    window.clearTimeout(this.retryTimer);
    this.watches.clear();
    this.socket?.close();
    this.socket = null;
    Signal.clearData(this);
  }

  private sendWatch(id: string, watch: IWatch): void {
    // Only the log and the end are wanted; the list tells the progress. No event has such a number.
    const { attempt, offset } = watch.next;
    const after = Number.MAX_SAFE_INTEGER;
    this.send({ watch: id, after, log_attempt: attempt, log_offset: offset });
  }

  private again(id: string, watch: IWatch): void {
    if (this.watches.get(id) === watch) {
      this.sendWatch(id, watch);
    }
  }

  private send(message: object): void {
    if (this.connected) {
      this.socket?.send(JSON.stringify(message));
    }
  }

  private receive(data: string): void {
    let frame: unknown;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (typeof frame !== 'object' || frame === null) {
      return;
    }
    const { job, jobs, type } = frame as { job?: unknown; jobs?: unknown; type?: unknown };
    if (type === 'jobs' && Array.isArray(jobs)) {
      this._jobsChanged.emit(jobs as Job[]);
    } else if (typeof job === 'string' && typeof type === 'string') {
      const watch = this.watches.get(job);
      if (!watch) {
        return;
      }
      const known = frame as IJobFrame;
      if (isLogFrame(known)) {
        watch.next = { attempt: known.attempt, offset: known.next_offset };
      } else if (type === 'error' && known.seq === undefined && known.code !== 'not_found') {
        // The server has given this watch up; the job goes on, and the next look at it may succeed.
        window.setTimeout(() => this.again(job, watch), WATCH_RETRY_MS);
      }
      watch.receive(known);
    }
  }

  private lost(socket: WebSocket): void {
    if (this.socket !== socket) {
      return;
    }
    this.socket = null;
    if (this._isDisposed) {
      return;
    }
    this._connectionChanged.emit(false);
    // Jitter, so that the pages of one restarted server do not all come back in the same instant.
    const pause = this.retryMs * (0.5 + Math.random());
    this.retryMs = Math.min(LAST_RETRY_MS, this.retryMs * 2);
    this.retryTimer = window.setTimeout(() => this.open(), pause);
  }

  private socket: WebSocket | null = null;
  private readonly watches = new Map<string, IWatch>();
  private retryMs = FIRST_RETRY_MS;
  private retryTimer = 0;
  private _isDisposed = false;
  private readonly _connectionChanged = new Signal<this, boolean>(this);
  private readonly _jobsChanged = new Signal<this, readonly Job[]>(this);
}
