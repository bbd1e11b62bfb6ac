// Package registry resolves tags and fetches what is attached to images, within limits.
//
// The client is pull-only and speaks three requests of the distribution protocol: a manifest by tag or digest, the
// referrers of a digest, and a blob by digest. It asks nothing else, no version check first, so that an image by tag
// with its signatures costs four round trips one after the other at most. Every answer is treated as hostile: bounded
// in size, count and time, checked against its digest, never quoted. Failures leave as *reason.Error, in which "the
// registry says there is none" and "the registry could not be asked" are never mixed.
//
// # Which host is asked
//
// A reference on docker.io, index.docker.io or without a registry is served by registry-1.docker.io, with "library/"
// before a one-segment path. Other hosts serve themselves, over HTTPS. A loopback host without configuration is asked
// over plain HTTP first, and over HTTPS once it says that it speaks TLS.
//
// Options.ConfigDir may name mirrors, in containerd's hosts.toml format: server, and for it and for every host
// capabilities, ca, client, skip_verify, override_path, header and dial_timeout. Any other key is an error. Hosts are
// asked in the order of the file, the server last. A document that one host does not have, or does not deliver intact, is
// asked for at the next. It counts as missing only when every host said so.
//
// # Where credentials go
//
// Credentials of a host are sent to that host and to a token realm that is the same host or belongs to the same
// registrable domain. Other realms are asked anonymously, over HTTPS only. Redirects lose the credentials as soon as
// they leave the host. Link-local and instance-metadata addresses are refused wherever they appear.
package registry
