// Package report publishes decisions off the request path: policy reports, events and metrics.
//
// The webhook hands every review to a Recorder and goes on; nothing here can delay or change an answer. Reports are
// put together in memory: what the phases and webhook paths of one request say of an object becomes one report named
// after the object's UID, written only when its content changed and at a limited rate. Every text from outside is cut
// and cleaned before it leaves the process.
package report
