import { ServerConnection } from '@jupyterlab/services';
import { IDisposable } from '@lumino/disposable';
import { Debouncer } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { describeError, postAPI, requestAPI } from '../api/request';
import type {
  DatasetEntry,
  DatasetList,
  DatasetRows,
  Deployment,
  DeploymentList,
  Job,
  ModelEntry,
  ModelList
} from '../api/contract';
import { hasEnded } from './format';
import type { JobsModel } from './jobs';
import type { JobStream } from '../api/stream';

const SETTLE_MS = 400;
const READY_MS = 2_000;

/** What is on disk and what is served: models, datasets, deployments. Asked for again when a job changes them. */
export class CatalogModel implements IDisposable {
  constructor(
    private readonly settings: ServerConnection.ISettings,
    private readonly jobs: JobsModel
  ) {
    this.later = new Debouncer(() => this.refresh(), SETTLE_MS);
    jobs.ended.connect(this.onEnded, this);
    jobs.stream.jobsChanged.connect(this.onJobs, this);
  }

  get models(): readonly ModelEntry[] {
    return this._models;
  }

  get datasets(): readonly DatasetEntry[] {
    return this._datasets;
  }

  /** Served models, and those about to be. */
  get deployments(): readonly Deployment[] {
    return this._deployments;
  }

  get loaded(): boolean {
    return this._loaded;
  }

  get error(): string {
    return this._error;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Ask for all three lists. */
  async refresh(): Promise<void> {
    try {
      const [models, datasets, deployments] = await Promise.all([
        requestAPI<ModelList>(this.settings, 'models'),
        requestAPI<DatasetList>(this.settings, 'datasets'),
        requestAPI<DeploymentList>(this.settings, 'deployments')
      ]);
      this._models = models.models;
      this._datasets = datasets.datasets;
      this._deployments = deployments.deployments;
      this._loaded = true;
      this._error = '';
    } catch (error) {
      this._error = describeError(error);
    }
    if (this._isDisposed) {
      return;
    }
    this._changed.emit();
    window.clearTimeout(this.readyTimer);
    if (this._deployments.some(deployment => !deployment.ready)) {
      // A model that gets ready changes nothing in its job.
      this.readyTimer = window.setTimeout(() => void this.refresh(), READY_MS);
    }
  }

  /** Start to serve a model. */
  async serve(model: string): Promise<void> {
    await postAPI(this.settings, 'deployments', { model });
    await Promise.all([this.refresh(), this.jobs.refresh()]);
  }

  /** Stop serving. */
  async stop(id: string): Promise<void> {
    await requestAPI(this.settings, `deployments/${encodeURIComponent(id)}`, { method: 'DELETE' });
    await Promise.all([this.refresh(), this.jobs.refresh()]);
  }

  /** Remove a model from disk. */
  async removeModel(name: string): Promise<void> {
    // A hub's model is `org/name`: the slash is part of the address.
    const path = name.split('/').map(encodeURIComponent).join('/');
    await requestAPI(this.settings, `models/${path}`, { method: 'DELETE' });
    await this.refresh();
  }

  /** Remove a dataset from disk. */
  async removeDataset(name: string): Promise<void> {
    await requestAPI(this.settings, `datasets/${encodeURIComponent(name)}`, { method: 'DELETE' });
    await this.refresh();
  }

  /** Some rows of a dataset's file. */
  rows(dataset: string, file: string, offset: number, limit: number): Promise<DatasetRows> {
    const query = new URLSearchParams({ file, offset: String(offset), limit: String(limit) });
    return requestAPI<DatasetRows>(
      this.settings,
      `datasets/${encodeURIComponent(dataset)}/rows?${query}`
    );
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this.later.dispose();
    this.jobs.ended.disconnect(this.onEnded, this);
    this.jobs.stream.jobsChanged.disconnect(this.onJobs, this);
    window.clearTimeout(this.readyTimer);
    Signal.clearData(this);
  }

  private onEnded(): void {
    void this.later.invoke();
  }

  private onJobs(_: JobStream, jobs: readonly Job[]): void {
    if (jobs.some(job => job.kind === 'serve' && !hasEnded(job))) {
      void this.later.invoke();
    }
  }

  private readonly later: Debouncer;
  private readyTimer = 0;
  private _models: readonly ModelEntry[] = [];
  private _datasets: readonly DatasetEntry[] = [];
  private _deployments: readonly Deployment[] = [];
  private _loaded = false;
  private _error = '';
  private _isDisposed = false;
  private readonly _changed = new Signal<this, void>(this);
}
