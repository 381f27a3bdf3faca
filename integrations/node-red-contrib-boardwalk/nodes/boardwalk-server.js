'use strict';

const { createSharedStreams } = require('../lib/shared-streams.js');

module.exports = (RED) => {
  /** Where Boardwalk is and the key to it; the nodes of a flow share it. */
  function ServerNode(config) {
    RED.nodes.createNode(this, config);
    const text = String(config.url ?? '').replace(/\/+$/, '');
    const fault = faultOf(text, this.credentials?.apiKey);
    if (fault !== undefined) this.error(fault);
    this.fault = fault;
    this.url = text;
    this.headers = () => ({ Authorization: `Bearer ${this.credentials.apiKey}` });
    this.streams = createSharedStreams(this);
    this.on('close', () => this.streams.stop());
  }

  RED.nodes.registerType('boardwalk-server', ServerNode, { credentials: { apiKey: { type: 'password' } } });
};

function faultOf(text, apiKey) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    return `the URL must be that of Boardwalk's API, like http://127.0.0.1:8812, not "${text}"`;
  if (typeof apiKey !== 'string' || apiKey === '') return 'there is no API key';
  return undefined;
}
