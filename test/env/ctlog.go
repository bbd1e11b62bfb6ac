package env

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
)

// CTLog is the front of a certificate transparency log, in this process: it promises to log certificates as RFC 6962
// has it, with promises (SCTs) that verify. It keeps no tree, for which those who verify a certificate never ask.
type CTLog struct {
	// URL is where Fulcio sends certificates.
	URL string
	// PublicKeyFile is the log's public key (PEM, P-256).
	PublicKeyFile string

	key    *ecdsa.PrivateKey
	id     [sha256.Size]byte
	server *http.Server
}

// StartCTLog starts a log with a fresh key, whose files are dir/ctlog.key and dir/ctlog.pub.
func StartCTLog(dir string) (*CTLog, error) {
	private, public, err := writeKeyPair(dir, "ctlog", false)
	if err != nil {
		return nil, err
	}
	l := &CTLog{PublicKeyFile: public}
	if l.key, err = readKey(private); err != nil {
		return nil, fmt.Errorf("starting the certificate log: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(l.key.Public())
	if err != nil {
		return nil, fmt.Errorf("starting the certificate log: %w", err)
	}
	l.id = sha256.Sum256(spki)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ct/v1/add-chain", l.add(ct.X509LogEntryType))
	mux.HandleFunc("POST /ct/v1/add-pre-chain", l.add(ct.PrecertLogEntryType))
	if l.server, l.URL, err = serveLoopback(mux); err != nil {
		return nil, fmt.Errorf("starting the certificate log: %w", err)
	}
	return l, nil
}

// Stop ends the log.
func (l *CTLog) Stop() { _ = l.server.Close() }

// add answers a request to log a certificate with a promise.
func (l *CTLog) add(kind ct.LogEntryType) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request ct.AddChainRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := l.promise(kind, request.Chain)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answerJSON(w, answer)
	}
}

func (l *CTLog) promise(kind ct.LogEntryType, chain [][]byte) (*ct.AddChainResponse, error) {
	var certificates []*ctx509.Certificate
	for _, der := range chain {
		c, err := ctx509.ParseCertificate(der)
		if ctx509.IsFatal(err) {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		certificates = append(certificates, c)
	}
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: l.id}, Timestamp: uint64(time.Now().UnixMilli())}
	leaf, err := ct.MerkleTreeLeafFromChain(certificates, kind, sct.Timestamp)
	if err != nil {
		return nil, fmt.Errorf("chain: %w", err)
	}
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: *leaf})
	if err != nil {
		return nil, fmt.Errorf("promise: %w", err)
	}
	signature, err := tls.CreateSignature(*l.key, tls.SHA256, input)
	if err != nil {
		return nil, fmt.Errorf("promise: %w", err)
	}
	raw, err := tls.Marshal(signature)
	if err != nil {
		return nil, fmt.Errorf("promise: %w", err)
	}
	return &ct.AddChainResponse{SCTVersion: ct.V1, ID: l.id[:], Timestamp: sct.Timestamp, Signature: raw}, nil
}

// readKey reads a P-256 key that writeKeyPair wrote.
func readKey(file string) (*ecdsa.PrivateKey, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an ECDSA key", file)
	}
	return private, nil
}

// serveLoopback serves on a free loopback port and returns the address with its scheme.
func serveLoopback(h http.Handler) (*http.Server, string, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }() // ends with Close
	return s, "http://" + l.Addr().String(), nil
}
