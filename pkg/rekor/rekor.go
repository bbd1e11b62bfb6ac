// Package rekor searches transparency logs that speak Rekor's first API for the entries of signatures that carry none.
// What it returns proves nothing until it was verified.
package rekor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/signet-policy/signet/pkg/egress"
	"github.com/signet-policy/signet/pkg/reason"
)

// Limits of one search.
const (
	maxAnswer  = 4 << 20
	maxEntries = 32
	dialTime   = 3 * time.Second
	searchTime = 10 * time.Second
	// atOnce searches run at the same time, in the whole process.
	atOnce = 8
)

// Entry is a log entry as the log's search gives it.
type Entry struct {
	Body                 []byte // as logged
	LogID                string // hexadecimal
	LogIndex             int64
	IntegratedTime       int64 // seconds since 1970
	SignedEntryTimestamp []byte
}

// Client searches logs. It is safe for concurrent use.
type Client struct {
	http, local *http.Client
	slots       chan struct{}
}

// New returns a client. It goes through the proxy of the environment, follows no redirects and keeps away from addresses
// that only the machine itself should reach: policies name the logs, and their authors may not see those. A log on
// loopback has to be written as such.
func New() *Client {
	return &Client{slots: make(chan struct{}, atOnce), local: newHTTP(true), http: newHTTP(false)}
}

func newHTTP(loopback bool) *http.Client {
	return &http.Client{
		Timeout:       searchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: egress.Dialer(dialTime, loopback).DialContext,
			TLSHandshakeTimeout: 2 * dialTime, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConnsPerHost: atOnce, IdleConnTimeout: 90 * time.Second,
		},
	}
}

// via is the client for a host.
func (c *Client) via(host string) *http.Client {
	if a, err := netip.ParseAddr(host); err == nil && a.Unmap().IsLoopback() || strings.EqualFold(host, "localhost") {
		return c.local
	}
	return c.http
}

// Search asks the log for entries with exactly the proposed content, given as JSON documents of Rekor's entry types. The
// error is a *reason.Error.
func (c *Client) Search(ctx context.Context, log string, proposed []json.RawMessage) ([]Entry, error) {
	base, err := url.Parse(log)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, reason.New(reason.TrustMaterialInvalid, "the address of the transparency log is no http(s) URL")
	}
	base.User, base.RawQuery, base.Fragment = nil, "", ""
	body, err := json.Marshal(map[string]any{"entries": proposed})
	if err != nil {
		return nil, reason.Wrap(reason.InternalError, err)
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, unavailable(base, ctx.Err())
	}
	target := *base
	target.Path = strings.TrimSuffix(base.Path, "/") + "/api/v1/log/entries/retrieve"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, reason.Wrap(reason.TrustMaterialInvalid, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	res, err := c.via(base.Hostname()).Do(req)
	if err != nil {
		return nil, unavailable(base, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, unavailable(base, fmt.Errorf("HTTP status %d", res.StatusCode))
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, unavailable(base, errors.New("the answer is cut off"))
	case len(answer) > maxAnswer:
		return nil, unavailable(base, fmt.Errorf("the answer is larger than %d bytes", maxAnswer))
	}
	entries, err := parse(answer)
	if err != nil {
		return nil, unavailable(base, err)
	}
	return entries, nil
}

// parse reads the answer of a search: a list of objects with one entry each, under its identifier.
func parse(answer []byte) ([]Entry, error) {
	var list []map[string]struct {
		Body           []byte `json:"body"`
		LogID          string `json:"logID"`
		LogIndex       int64  `json:"logIndex"`
		IntegratedTime int64  `json:"integratedTime"`
		Verification   struct {
			SignedEntryTimestamp []byte `json:"signedEntryTimestamp"`
		} `json:"verification"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		return nil, errors.New("the answer is no list of log entries")
	}
	var entries []Entry
	for _, found := range list {
		for _, e := range found {
			if len(entries) == maxEntries {
				return entries, nil
			}
			entries = append(entries, Entry{Body: e.Body, LogID: e.LogID, LogIndex: e.LogIndex, IntegratedTime: e.IntegratedTime,
				SignedEntryTimestamp: e.Verification.SignedEntryTimestamp})
		}
	}
	return entries, nil
}

// unavailable is the error of a log that gave no usable answer. It quotes neither the answer nor the path of the URL.
func unavailable(log *url.URL, err error) error {
	text := "no answer in time"
	dialed := (*net.OpError)(nil)
	unknown := (*net.DNSError)(nil)
	unreachable := false
	switch {
	case errors.Is(err, egress.ErrForbidden):
		text = egress.ErrForbidden.Error()
	case errors.As(err, &unknown):
		text, unreachable = "the name cannot be resolved", true
	case errors.As(err, &dialed) && dialed.Op == "dial":
		text, unreachable = "no connection", true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		text, unreachable = "the connection was closed before any answer", true
	default:
		text = err.Error()
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			text = "the request failed"
			if inner.Timeout() {
				text = "no answer in time"
			}
		}
	}
	return &reason.Error{Code: reason.TrustMaterialUnavailable, Unreachable: unreachable,
		Text: fmt.Sprintf("the transparency log %s://%s could not be searched: %s", log.Scheme, log.Host, text)}
}
