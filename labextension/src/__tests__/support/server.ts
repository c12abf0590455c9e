/** A scripted Jupyter server: real HTTP and a real WebSocket on a loopback port, with answers set by the test. */

import { createServer, IncomingMessage, Server, ServerResponse } from 'node:http';
import { AddressInfo } from 'node:net';

import { ServerConnection } from '@jupyterlab/services';
import { WebSocket as ServerSocket, WebSocketServer } from 'ws';

export const TOKEN = 'token-of-the-test';
const API = '/ilab/api/';

/** A request as the server received it; `path` is below `ilab/api/`. */
export interface IRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  body: unknown;
}

/** A response with another status than 200, or with a body that is not JSON. */
export class Reply {
  constructor(
    readonly status: number,
    readonly body: unknown,
    readonly type = 'application/json'
  ) {}
}

type Handler = (request: IRequest) => unknown;

export class ScriptedServer {
  /** All HTTP requests, in order of arrival. */
  readonly requests: IRequest[] = [];

  /** All messages received over WebSockets, in order of arrival. */
  readonly messages: Record<string, unknown>[] = [];

  /** Number of WebSocket connections accepted so far. */
  connections = 0;

  static async start(): Promise<ScriptedServer> {
    const server = new ScriptedServer();
    await server.listen(0);
    return server;
  }

  get settings(): ServerConnection.ISettings {
    const address = `127.0.0.1:${this.port}/`;
    return ServerConnection.makeSettings({
      baseUrl: `http://${address}`,
      wsUrl: `ws://${address}`,
      token: TOKEN
    });
  }

  /** Answer requests for `path` below `ilab/api/` with what `handler` returns or resolves to. */
  on(path: string, handler: Handler): void {
    this.handlers.set(path, handler);
  }

  /** Requests for `path` below `ilab/api/`. */
  requestsFor(path: string): IRequest[] {
    return this.requests.filter(request => request.path === path);
  }

  /** Send a frame over every open WebSocket. */
  send(frame: unknown): void {
    for (const socket of this.sockets.clients) {
      socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
    }
  }

  /** Cut all WebSocket connections, without a closing handshake. */
  dropConnections(): void {
    for (const socket of this.sockets.clients) {
      socket.terminate();
    }
  }

  /** Stop listening and cut all connections, as a killed server does. */
  async stop(): Promise<void> {
    this.dropConnections();
    this.http.closeAllConnections();
    await new Promise<void>(resolve => this.http.close(() => resolve()));
  }

  /** Listen again on the same port. */
  async restart(): Promise<void> {
    await this.listen(this.port);
  }

  private async listen(port: number): Promise<void> {
    this.http = createServer((request, response) => void this.respond(request, response));
    this.sockets = new WebSocketServer({ server: this.http, path: `${API}stream` });
    this.sockets.on('connection', (socket: ServerSocket, request: IncomingMessage) => {
      if (new URL(request.url ?? '', 'http://host').searchParams.get('token') !== TOKEN) {
        socket.close();
        return;
      }
      this.connections += 1;
      socket.on('message', data => {
        this.messages.push(JSON.parse(String(data)) as Record<string, unknown>);
      });
    });
    await new Promise<void>(resolve => this.http.listen(port, '127.0.0.1', resolve));
    this.port = (this.http.address() as AddressInfo).port;
  }

  private async respond(message: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const piece of message) {
      text += String(piece);
    }
    const url = new URL(message.url ?? '', 'http://host');
    const request: IRequest = {
      method: message.method ?? '',
      path: url.pathname.slice(API.length),
      query: url.searchParams,
      body: text ? JSON.parse(text) : null
    };
    this.requests.push(request);
    const handler = this.handlers.get(request.path);
    const answer = handler ? await handler(request) : NOT_FOUND;
    const reply = answer instanceof Reply ? answer : new Reply(200, answer);
    response.writeHead(reply.status, { 'Content-Type': reply.type });
    response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body));
  }

  private readonly handlers = new Map<string, Handler>();
  private http!: Server;
  private sockets!: WebSocketServer;
  private port = 0;
}

/** The page of a Jupyter server for an address that no extension handles. */
export const NOT_FOUND = new Reply(404, '<html><title>Jupyter Server</title></html>', 'text/html');
