/**
 * Documents that a node keeps and cannot read: each is sealed here before it leaves, and opened here after it
 * came back. Nothing in this library talks to a network; give what it makes to PouchDB, or to the node's API.
 */

export { Envelope, isEnvelope } from "./envelope.js";
export { Grant, generateSharingKey, SharingKey } from "./grant.js";
export { RootSecret, WrappedRoot } from "./root.js";
export { SealedDatabase } from "./database.js";
