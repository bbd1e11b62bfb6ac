package env

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"
)

// Sigstore is a whole private Sigstore on loopback: what the public one consists of, from the same sources. Real are
// Fulcio, both versions of Rekor and the timestamp authority; the OIDC issuers and the certificate log's front are ours.
type Sigstore struct {
	// People certifies mail addresses, Workflows runs of GitHub workflows.
	People, Workflows *Issuer
	// CT is the certificate log of Fulcio.
	CT *CTLog
	// Fulcio is the certificate authority. Other is one without a certificate log, so that its certificates carry no SCT.
	Fulcio, Other *Service
	// RekorV1 is the transparency log that signs entry timestamps; RekorV2 the one that proves inclusion alone.
	RekorV1 *Service
	RekorV2 *Rekor
	// TSA is the timestamp authority.
	TSA *Service

	trillian *Process
}

// Service is one server of a Sigstore.
type Service struct {
	// URL is where clients send requests.
	URL string
	// TrustFile is what verifiers trust it by: a certificate chain or a public key, in PEM.
	TrustFile string

	process *Process
}

// StartSigstore starts everything, with fresh keys; data, keys and log files are in dir.
func StartSigstore(ctx context.Context, dir string) (*Sigstore, error) {
	s := &Sigstore{}
	if err := s.start(ctx, dir); err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting Sigstore: %w", err)
	}
	return s, nil
}

func (s *Sigstore) start(ctx context.Context, dir string) (err error) {
	if s.People, err = StartIssuer(); err != nil {
		return err
	}
	if s.Workflows, err = StartIssuer(); err != nil {
		return err
	}
	if s.CT, err = StartCTLog(dir); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { s.Fulcio, err = s.fulcio(ctx, dir, "fulcio", s.CT.URL); return err })
	g.Go(func() (err error) { s.Other, err = s.fulcio(ctx, dir, "fulcio-other", ""); return err })
	g.Go(func() (err error) { s.RekorV2, err = StartRekor(ctx, dir); return err })
	g.Go(func() (err error) { return s.rekorV1(ctx, dir) })
	g.Go(func() (err error) { s.TSA, err = timestampAuthority(ctx, dir); return err })
	return g.Wait()
}

// Stop ends everything that was started.
func (s *Sigstore) Stop() {
	for _, service := range []*Service{s.Fulcio, s.Other, s.RekorV1, s.TSA} {
		if service != nil && service.process != nil {
			service.process.Stop()
		}
	}
	if s.RekorV2 != nil {
		s.RekorV2.Stop()
	}
	if s.trillian != nil {
		s.trillian.Stop()
	}
	for _, issuer := range []*Issuer{s.People, s.Workflows} {
		if issuer != nil {
			issuer.Stop()
		}
	}
	if s.CT != nil {
		s.CT.Stop()
	}
}

// run starts a server and waits until it hands out what it is trusted by, which is then in dir/name.pem.
func run(ctx context.Context, dir, name, tool string, port int, trust string, args ...string) (*Service, error) {
	path, err := Tool(tool)
	if err != nil {
		return nil, err
	}
	s := &Service{URL: loopback("http", port), TrustFile: filepath.Join(dir, name+".pem")}
	// Not the developer's configuration; Trillian and Fulcio would also write below the home directory.
	s.process, err = StartProcess(dir, name, path, args, []string{"HOME=" + dir})
	if err != nil {
		return nil, err
	}
	err = s.process.WaitReady(ctx, func(ctx context.Context) error {
		raw, err := fetch(ctx, s.URL+trust)
		if err != nil {
			return err
		}
		return os.WriteFile(s.TrustFile, raw, 0o644)
	})
	if err != nil {
		s.process.Stop()
		return nil, err
	}
	return s, nil
}

// fulcio starts a certificate authority that accepts the tokens of both issuers. Without a ctlog, nothing is logged.
func (s *Sigstore) fulcio(ctx context.Context, dir, name, ctlog string) (*Service, error) {
	ports, err := FreePorts(3)
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{"OIDCIssuers": map[string]any{
		s.People.URL:    map[string]any{"IssuerURL": s.People.URL, "ClientID": tokenAudience, "Type": "email"},
		s.Workflows.URL: map[string]any{"IssuerURL": s.Workflows.URL, "ClientID": tokenAudience, "Type": "github-workflow"},
	}})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, name+".json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	// A socket's path must be short, and those of tests' directories are not.
	sockets, err := os.MkdirTemp("", "fulcio-")
	if err != nil {
		return nil, err
	}
	args := []string{
		"serve", "--ca=ephemeralca", "--ct-log-url=" + ctlog, "--config-path=" + file, "--host=127.0.0.1", "--port=" + strconv.Itoa(ports[0]),
		"--grpc-host=127.0.0.1", "--grpc-port=" + strconv.Itoa(ports[1]), "--metrics-port=" + strconv.Itoa(ports[2]),
		"--legacy-unix-domain-socket=" + filepath.Join(sockets, "s"),
	}
	if ctlog != "" {
		args = append(args, "--ct-log-public-key-path="+s.CT.PublicKeyFile)
	}
	service, err := run(ctx, dir, name, "fulcio", ports[0], "/api/v1/rootCert", args...)
	_ = os.RemoveAll(sockets) // an open socket needs no name; nobody connects to it
	return service, err
}

// rekorV1 starts a Rekor of the first kind and the tree below it.
func (s *Sigstore) rekorV1(ctx context.Context, dir string) error {
	path, err := Tool("trillian-memory")
	if err != nil {
		return err
	}
	ports, err := FreePorts(2)
	if err != nil {
		return err
	}
	if s.trillian, err = StartProcess(dir, "trillian", path, []string{"-address=127.0.0.1:" + strconv.Itoa(ports[1])}, nil); err != nil {
		return err
	}
	s.RekorV1, err = run(ctx, dir, "rekor-v1", "rekor-v1-server", ports[0], "/api/v1/log/publicKey",
		"serve", "--rekor_server.address=127.0.0.1", "--port="+strconv.Itoa(ports[0]), "--rekor_server.hostname=rekor-v1.local",
		"--trillian_log_server.address=127.0.0.1", "--trillian_log_server.port="+strconv.Itoa(ports[1]),
		"--enable_retrieve_api=false", "--rekor_server.signer=memory")
	return err
}

func timestampAuthority(ctx context.Context, dir string) (*Service, error) {
	ports, err := FreePorts(1)
	if err != nil {
		return nil, err
	}
	s, err := run(ctx, dir, "tsa", "timestamp-server", ports[0], "/api/v1/timestamp/certchain", "-port="+strconv.Itoa(ports[0]))
	if err == nil {
		s.URL += "/api/v1/timestamp"
	}
	return s, err
}

// fetch reads a small document.
func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: GET %s: %s", errNotReady, url, res.Status)
	}
	return io.ReadAll(io.LimitReader(res.Body, 1<<20))
}
