import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import { ISignal, Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { describeError, requestAPI } from '../api/request';
import type { Job, LogChunk } from '../api/contract';
import { duration, elapsed, hasEnded, stateLabel, waitingFor } from '../models/format';
import { LogWindow } from '../models/logwindow';
import type { JobsModel } from '../models/jobs';
import { IJobFrame, isLogFrame, ILogFrame } from '../api/stream';

const PAGE_BYTES = 131_072;
/** What a hidden tab keeps waiting before it would rather read the end of the log again. */
const MOST_PENDING = 4_000_000;
/** Above so many new lines at once a screen reader does not announce each of them. */
const MOST_SPOKEN = 20;

/**
 * The log of a job, live: a bounded window of lines on the file that the job writes to.
 *
 * Lines are text nodes, whatever a job prints. If the window ends before the log does, because earlier lines were
 * loaded, following shows the end again.
 */
export class LogView extends Widget {
  constructor(
    private readonly model: JobsModel,
    readonly jobId: string,
    lines: number,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-IlabLog');
    this.window = new LogWindow(lines);
    this.earlier = document.createElement('button');
    this.earlier.className = 'jp-IlabLog-earlier jp-mod-styled jp-mod-minimal';
    this.earlier.textContent = trans.__('Load earlier lines');
    this.earlier.hidden = true;
    this.earlier.addEventListener('click', () => void this.loadEarlier());
    this.list = document.createElement('div');
    this.list.className = 'jp-IlabLog-lines';
    this.list.setAttribute('role', 'log');
    this.list.setAttribute('aria-label', trans.__('Log'));
    this.status = document.createElement('div');
    this.status.className = 'jp-IlabLog-status';
    this.status.setAttribute('role', 'status');
    this.scroller = document.createElement('div');
    this.scroller.className = 'jp-IlabLog-scroller';
    this.scroller.tabIndex = 0;
    this.scroller.append(this.earlier, this.list, this.status);
    this.scroller.addEventListener('scroll', () => this.onScroll());
    this.node.append(this.scroller);
    model.changed.connect(this.onModel, this);
  }

  /** True while the view stays at the end of the log. */
  get follow(): boolean {
    return this._follow;
  }
  set follow(value: boolean) {
    if (value !== this._follow) {
      this._follow = value;
      this._followChanged.emit(value);
    }
    if (value) {
      if (this.attached) {
        this.toBottom();
      } else {
        void this.load();
      }
    }
  }

  get followChanged(): ISignal<this, boolean> {
    return this._followChanged;
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this.watch?.dispose();
    cancelAnimationFrame(this.frame);
    this.model.changed.disconnect(this.onModel, this);
    Signal.clearData(this);
    super.dispose();
  }

  /** Read the end of the newest attempt's log and follow it from there. */
  async load(): Promise<void> {
    this.watch?.dispose();
    this.watch = null;
    this.pending = [];
    try {
      const job = await this.model.fetch(this.jobId);
      const chunk = await this.read(-PAGE_BYTES, PAGE_BYTES);
      if (this.isDisposed) {
        return;
      }
      this._attempt = chunk.attempt;
      this.attached = true;
      this.window.reset(chunk.text, chunk.offset, chunk.next_offset);
      this.list.replaceChildren(...this.window.lines.map(line => lineNode(line.text)));
      if (!hasEnded(job) || chunk.next_offset < chunk.size) {
        this.watch = this.model.stream.watch(
          this.jobId,
          { attempt: chunk.attempt, offset: chunk.next_offset },
          this.onFrame
        );
      }
      this.showStatus(job);
      this.afterRender();
    } catch (error) {
      this.showError(error);
    }
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this._attempt === 0) {
      void this.load();
    }
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    if (this._follow) {
      this.toBottom();
    }
  }

  protected onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this.scroller.focus();
  }

  private read(offset: number, limit: number): Promise<LogChunk> {
    const query = new URLSearchParams({ offset: String(offset), limit: String(limit) });
    if (offset >= 0 && this._attempt > 0) {
      query.set('attempt', String(this._attempt));
    }
    const path = `jobs/${encodeURIComponent(this.jobId)}/log?${query}`;
    return requestAPI<LogChunk>(this.model.settings, path);
  }

  private async loadEarlier(): Promise<void> {
    const offset = Math.max(0, this.window.start - PAGE_BYTES);
    this.earlier.disabled = true;
    try {
      const start = this.window.start;
      const chunk = await this.read(offset, start - offset);
      if (this.window.start !== start || this.isDisposed) {
        return;
      }
      this.follow = false;
      const height = this.scroller.scrollHeight;
      const { added, removed } = this.window.prepend(chunk.text, chunk.offset);
      this.list.prepend(...this.window.lines.slice(0, added).map(line => lineNode(line.text)));
      this.scroller.scrollTop += this.scroller.scrollHeight - height;
      for (let index = 0; index < removed; index++) {
        this.list.lastChild?.remove();
      }
      if (removed > 0) {
        this.attached = false;
        this.pending = [];
      }
      this.afterRender();
    } catch (error) {
      this.showError(error);
    } finally {
      this.earlier.disabled = false;
    }
  }

  private readonly onFrame = (frame: IJobFrame): void => {
    if (frame.type === 'end') {
      this.watch?.dispose();
      this.watch = null;
      void this.model.fetch(this.jobId).catch(error => this.showError(error));
    } else if (frame.type === 'error') {
      this.status.textContent = `${frame.message ?? ''} ${frame.hint ?? ''}`.trim();
    } else if (isLogFrame(frame) && this.attached) {
      this.pending.push(frame);
      this.pendingSize += frame.text.length;
      if (this.pendingSize > MOST_PENDING) {
        this.pending = [];
        this.pendingSize = 0;
        void this.load();
      } else if (this.pending.length === 1) {
        this.frame = requestAnimationFrame(() => this.drain());
      }
    }
  };

  private drain(): void {
    const frames = this.pending;
    this.pending = [];
    this.pendingSize = 0;
    let added = 0;
    for (const frame of frames) {
      if (frame.attempt !== this._attempt) {
        this._attempt = frame.attempt;
        this.window.reset('', 0, 0);
        this.list.replaceChildren();
      }
      if (frame.next_offset <= this.window.end) {
        continue;
      }
      if (frame.offset !== this.window.end) {
        void this.load();
        return;
      }
      const { removed, from } = this.window.append(frame.text, frame.next_offset);
      for (let index = 0; index < removed; index++) {
        this.list.firstChild?.remove();
      }
      while (this.list.childElementCount > from) {
        this.list.lastChild?.remove();
      }
      const fresh = this.window.lines.slice(from);
      this.list.append(...fresh.map(line => lineNode(line.text)));
      added += fresh.length;
    }
    this.list.setAttribute('aria-live', added > MOST_SPOKEN ? 'off' : 'polite');
    this.afterRender();
  }

  private afterRender(): void {
    this.earlier.hidden = this.window.start === 0;
    if (this._follow) {
      this.toBottom();
    }
  }

  private toBottom(): void {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  private onScroll(): void {
    const rest = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight;
    const atEnd = rest < 24;
    if (atEnd !== this._follow && (this.attached || !atEnd)) {
      this._follow = atEnd;
      this._followChanged.emit(atEnd);
    }
  }

  private onModel(): void {
    const job = this.model.get(this.jobId);
    if (!job || this._attempt === 0) {
      return;
    }
    if (job.attempt > this._attempt && !hasEnded(job)) {
      // Resumed: the new attempt writes a log of its own.
      this._attempt = job.attempt;
      this.window.reset('', 0, 0);
      this.list.replaceChildren();
      this.attached = true;
      this.watch?.dispose();
      const next = { attempt: job.attempt, offset: 0 };
      this.watch = this.model.stream.watch(this.jobId, next, this.onFrame);
    }
    this.showStatus(job);
  }

  private showStatus(job: Job): void {
    const { trans } = this;
    if (!hasEnded(job)) {
      const status =
        job.state === 'QUEUED'
          ? waitingFor(job, trans)
          : trans.__('%1 …', stateLabel(job.state, trans));
      this.tell(
        job.state,
        this.model.stream.connected ? status : trans.__('Not connected; trying again.')
      );
      return;
    }
    const seconds = elapsed(job);
    const outcome =
      seconds === null
        ? trans.__('%1.', stateLabel(job.state, trans))
        : trans.__('%1 after %2.', stateLabel(job.state, trans), duration(seconds, trans));
    this.tell(job.state, [outcome, job.message, job.hint].filter(Boolean).join(' '));
    if (this._follow) {
      this.toBottom();
    }
  }

  private showError(error: unknown): void {
    if (!this.isDisposed) {
      this.tell('FAILED', describeError(error));
    }
  }

  private tell(state: Job['state'], text: string): void {
    this.status.dataset.state = state;
    // How long a job still waits changes all the time: it is there to be read, not to be read out.
    this.status.setAttribute('aria-live', state === 'QUEUED' ? 'off' : 'polite');
    this.status.textContent = text;
  }

  private readonly window: LogWindow;
  private readonly scroller: HTMLDivElement;
  private readonly earlier: HTMLButtonElement;
  private readonly list: HTMLDivElement;
  private readonly status: HTMLDivElement;
  private watch: IDisposable | null = null;
  private pending: ILogFrame[] = [];
  private pendingSize = 0;
  private frame = 0;
  private attached = true;
  /** The attempt whose log is shown; 0 before the first answer. */
  private _attempt = 0;
  private _follow = true;
  private readonly _followChanged = new Signal<this, boolean>(this);
}

function lineNode(text: string): HTMLDivElement {
  const node = document.createElement('div');
  node.className = 'jp-IlabLog-line';
  node.textContent = text;
  return node;
}
