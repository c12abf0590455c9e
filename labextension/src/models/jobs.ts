import { ServerConnection } from '@jupyterlab/services';
import { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { describeError, postAPI, requestAPI } from '../api/request';
import type { Job, JobPage, JobState, QueueState } from '../api/contract';
import { hasEnded } from './format';
import { JobStream } from '../api/stream';
import { IInstructLabJobs } from '../tokens';

const PAGE = 50;
/** Pause between polls while the stream is open, which sends all changes; a poll corrects missed ones. */
const CONNECTED_MS = 30_000;
const DISCONNECTED_MS = 3_000;

/** What the job list is narrowed to. */
export interface IJobFilter {
  text: string;
  /** An empty list means every state. */
  states: readonly JobState[];
}

/** The jobs: pages from the server, kept current by the stream, or by polling where there is none. */
export class JobsModel implements IInstructLabJobs, IDisposable {
  constructor(
    readonly settings: ServerConnection.ISettings,
    readonly stream: JobStream
  ) {
    stream.jobsChanged.connect(this.onJobs, this);
    stream.connectionChanged.connect(this.onConnection, this);
    this.poll = new Poll({
      auto: false,
      name: 'ilab-jupyter:jobs',
      factory: () => this.refresh(),
      frequency: { interval: DISCONNECTED_MS, backoff: true, max: 60_000 },
      standby: 'when-hidden'
    });
  }

  get jobs(): readonly Job[] {
    return [...this.known.values()]
      .filter(job => this.matches(job))
      .sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  }

  get filter(): IJobFilter {
    return this._filter;
  }

  /** True where older jobs can be loaded. */
  get hasMore(): boolean {
    return this.cursor !== null;
  }

  /** True once a first page has come. */
  get loaded(): boolean {
    return this._loaded;
  }

  /** Why the list could not be loaded, or '' where it could. */
  get error(): string {
    return this._error;
  }

  /** Whether jobs are started, as of the last response; null before it. */
  get queue(): QueueState | null {
    return this._queue;
  }

  /** Ids of jobs with a request of ours under way. */
  get busy(): ReadonlySet<string> {
    return this._busy;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get ended(): ISignal<this, Job> {
    return this._ended;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Ask for the first page and follow the changes from then on. */
  start(): void {
    this.stream.open();
    void this.poll.start();
  }

  /** A job that is loaded, whether the filter shows it or not. */
  get(id: string): Job | undefined {
    return this.known.get(id);
  }

  /** Ask for one job; it joins the list. */
  async fetch(id: string): Promise<Job> {
    const job = await requestAPI<Job>(this.settings, `jobs/${encodeURIComponent(id)}`);
    this.take([job]);
    return job;
  }

  async refresh(): Promise<void> {
    const filter = this._filter;
    try {
      const [page, queue] = await Promise.all([
        this.page(null),
        requestAPI<QueueState>(this.settings, 'queue')
      ]);
      this._queue = queue;
      if (filter !== this._filter) {
        return;
      }
      // Older pages that were loaded stay: their cursor is still good.
      if (this.pages <= 1) {
        this.reach(page);
        this.pages = 1;
      }
      this._loaded = true;
      this._error = '';
      this.forget(page);
      this.take(page.jobs);
    } catch (error) {
      this._error = describeError(error);
      this._changed.emit();
      throw error;
    }
  }

  /** Ask for the page behind the last one. */
  async loadMore(): Promise<void> {
    if (this.cursor === null) {
      return;
    }
    try {
      const page = await this.page(this.cursor);
      this.reach(page);
      this.pages += 1;
      this.take(page.jobs);
    } catch (error) {
      this._error = describeError(error);
      this._changed.emit();
    }
  }

  /** Narrow the list; the server filters, since it has jobs that were never loaded here. */
  setFilter(filter: IJobFilter): void {
    this._filter = filter;
    this.cursor = null;
    this.oldest = '';
    this.pages = 0;
    this._changed.emit();
    this.ask();
  }

  async cancel(id: string): Promise<void> {
    await this.act(id, 'cancel');
  }

  async resume(id: string): Promise<void> {
    await this.act(id, 'resume');
  }

  async remove(id: string): Promise<void> {
    this._busy.add(id);
    this._changed.emit();
    try {
      await requestAPI(this.settings, `jobs/${encodeURIComponent(id)}`, { method: 'DELETE' });
      this.known.delete(id);
    } finally {
      this._busy.delete(id);
      this._changed.emit();
    }
  }

  /** Start nothing more; the owners of waiting jobs see the reason. */
  async pause(reason: string): Promise<void> {
    this._queue = await postAPI<QueueState>(this.settings, 'queue/pause', { reason });
    this._changed.emit();
  }

  /** Start jobs again. */
  async unpause(): Promise<void> {
    this._queue = await postAPI<QueueState>(this.settings, 'queue/unpause');
    this._changed.emit();
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this.poll.dispose();
    this.stream.dispose();
    Signal.clearData(this);
  }

  private async act(id: string, verb: 'cancel' | 'resume'): Promise<void> {
    this._busy.add(id);
    this._changed.emit();
    try {
      this.take([await postAPI<Job>(this.settings, `jobs/${encodeURIComponent(id)}/${verb}`)]);
    } finally {
      this._busy.delete(id);
      this._changed.emit();
    }
  }

  private page(cursor: string | null): Promise<JobPage> {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (cursor !== null) {
      query.set('cursor', cursor);
    }
    if (this._filter.text) {
      query.set('text', this._filter.text);
    }
    for (const state of this._filter.states) {
      query.append('state', state);
    }
    return requestAPI<JobPage>(this.settings, `jobs?${query}`);
  }

  private matches(job: Job): boolean {
    const { text, states } = this._filter;
    const wanted = text.toLowerCase();
    return (
      (states.length === 0 || states.includes(job.state)) &&
      (!wanted || job.id.toLowerCase().includes(wanted) || title(job).includes(wanted))
    );
  }

  private take(jobs: readonly Job[]): void {
    for (const job of jobs) {
      const before = this.known.get(job.id);
      // The stream may have sent something newer before the response arrived.
      if (before && before.version > job.version) {
        continue;
      }
      this.known.set(job.id, job);
      if (before && !hasEnded(before) && hasEnded(job)) {
        this._ended.emit(job);
      }
    }
    this._changed.emit();
  }

  /** Drop the ended jobs that the newest page would show if they had not been removed elsewhere. */
  private forget(page: JobPage): void {
    const listed = new Set(page.jobs.map(job => job.id));
    const last = page.cursor === null ? '' : (page.jobs[page.jobs.length - 1]?.created_at ?? '');
    for (const job of this.jobs) {
      if (hasEnded(job) && job.created_at > last && !listed.has(job.id)) {
        this.known.delete(job.id);
      }
    }
  }

  /** Note how far back the loaded pages go. */
  private reach(page: JobPage): void {
    this.cursor = page.cursor;
    this.oldest = page.cursor === null ? '' : (page.jobs[page.jobs.length - 1]?.created_at ?? '');
  }

  private onJobs(_: JobStream, jobs: readonly Job[]): void {
    // The stream begins with more of the past than was requested; that is for "Load more".
    this.take(
      jobs.filter(
        job =>
          this.known.has(job.id) ||
          !hasEnded(job) ||
          (this._loaded && job.created_at >= this.oldest)
      )
    );
  }

  private onConnection(_: JobStream, connected: boolean): void {
    this.poll.frequency = {
      interval: connected ? CONNECTED_MS : DISCONNECTED_MS,
      backoff: true,
      max: 60_000
    };
    this._changed.emit();
    this.ask();
  }

  /** Refresh now. The poll would let it pass while an answer to an older question is on its way. */
  private ask(): void {
    this.refresh().catch(() => {
      // `error` says why.
    });
  }

  private readonly known = new Map<string, Job>();
  private readonly poll: Poll;
  private readonly _busy = new Set<string>();
  private cursor: string | null = null;
  /** When the oldest job of the loaded pages was created; '' where there are no older ones. */
  private oldest = '';
  private pages = 0;
  private _filter: IJobFilter = { text: '', states: [] };
  private _loaded = false;
  private _queue: QueueState | null = null;
  private _error = '';
  private _isDisposed = false;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _ended = new Signal<this, Job>(this);
}

function title(job: Job): string {
  return `${job.name} ${job.kind}`.toLowerCase();
}
