package controllers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// The label of Secrets that Signet may write. One without it is somebody's own: it is used and never changed.
const (
	certificateLabel = "cert.kyverno.io/managed-by"

	defaultRenewBefore = 15 * 24 * time.Hour
	// checkInterval is how often each replica reads the Secrets.
	checkInterval = time.Minute
	// settleTime is how long a new authority is published before anything is signed with it: until then there may be
	// webhook configurations without it.
	settleTime = 10 * time.Minute
	// attempts is how often a race against other replicas may be lost in one go.
	attempts = 5
)

// CertificateOptions say for whom certificates are made and where they are kept.
type CertificateOptions struct {
	// SystemNamespace is where the Secrets and the Service are. Required.
	SystemNamespace string
	// ServiceName defaults to kyverno-svc.
	ServiceName string
	// ServerIP is another name of the server: an IP address or host name, with or without a port. Optional.
	ServerIP string
	// CASecretName and TLSSecretName default to <service>.<namespace>.svc.kyverno-tls-ca and -pair.
	CASecretName, TLSSecretName string
	// KeyAlgorithm defaults to ECDSA.
	KeyAlgorithm KeyAlgorithm
	// RenewBefore is how long before their end certificates are replaced; it defaults to 15 days.
	RenewBefore time.Duration
	// Now defaults to time.Now.
	Now func() time.Time
}

// Certificates keeps the serving certificate and the authorities that have signed it, which all replicas share through
// Secrets. It is safe for concurrent use.
type Certificates struct {
	client  client.Client
	options CertificateOptions
	names   names

	mu      sync.Mutex // one check at a time
	current atomic.Pointer[material]
	changed atomic.Pointer[func()]
}

// material is what one reading of the Secrets gave.
type material struct {
	serving *tls.Certificate
	bundle  []*x509.Certificate
	pem     []byte
}

// NewCertificates returns certificates that Ensure has to be called on. The client has to read from the API server.
func NewCertificates(c client.Client, o CertificateOptions) *Certificates {
	if o.ServiceName == "" {
		o.ServiceName = defaultService
	}
	prefix := o.ServiceName + "." + o.SystemNamespace + ".svc"
	if o.CASecretName == "" {
		o.CASecretName = prefix + ".kyverno-tls-ca"
	}
	if o.TLSSecretName == "" {
		o.TLSSecretName = prefix + ".kyverno-tls-pair"
	}
	if o.RenewBefore <= 0 || o.RenewBefore >= ServingLife {
		o.RenewBefore = defaultRenewBefore
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n := names{dns: []string{prefix, o.ServiceName + "." + o.SystemNamespace, o.ServiceName}}
	if host := hostOf(o.ServerIP); host != "" {
		if ip := net.ParseIP(host); ip != nil {
			n.ips = append(n.ips, ip)
		} else {
			n.dns = append(n.dns, host)
		}
	}
	return &Certificates{client: c, options: o, names: n}
}

// hostOf takes the port off an address, and the brackets off an IPv6 one.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

// CABundle is the PEM of the authorities that clients have to trust, the newest first; empty before Ensure.
func (c *Certificates) CABundle() []byte {
	if m := c.current.Load(); m != nil {
		return m.pem
	}
	return nil
}

// errNoCertificate refuses a handshake before Ensure.
var errNoCertificate = errors.New("there is no serving certificate yet")

// TLSConfig is the server's configuration. It follows later certificates.
func (c *Certificates) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// TLS 1.3 has its own, which are all of this kind.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if m := c.current.Load(); m != nil {
				return m.serving, nil
			}
			return nil, errNoCertificate
		},
	}
}

// Start looks after the certificates until the process ends. Every replica does.
func (c *Certificates) Start(ctx context.Context) error {
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := c.Ensure(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "cannot look after the certificates, those in memory stay in use")
		}
	}
}

// NeedLeaderElection says that every replica needs the certificates.
func (c *Certificates) NeedLeaderElection() bool { return false }

// Ensure loads the certificates, and makes what is missing or due. When it returns nil, TLSConfig and CABundle serve.
func (c *Certificates) Ensure(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for range attempts {
		var m *material
		if m, err = c.check(ctx); err == nil {
			c.publish(m)
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			break // another replica was faster only in those two cases
		}
	}
	return fmt.Errorf("looking after the certificates: %w", err)
}

func (c *Certificates) publish(m *material) {
	before := c.current.Swap(m)
	if f := c.changed.Load(); f != nil && (before == nil || string(before.pem) != string(m.pem)) {
		(*f)()
	}
}

// onChange has f called whenever the bundle changes.
func (c *Certificates) onChange(f func()) { c.changed.Store(&f) }

// check reads both Secrets once and writes what has to be replaced.
func (c *Certificates) check(ctx context.Context) (*material, error) {
	now := c.options.Now()
	a, bundle, err := c.authority(ctx, now)
	if err != nil {
		return nil, err
	}
	serving, err := c.serving(ctx, a, bundle, now)
	if err != nil {
		return nil, err
	}
	return &material{serving: serving, bundle: bundle, pem: encodeBundle(bundle)}, nil
}

// authority returns the newest authority and the bundle, after replacing the authority if it is due. Older ones stay in
// the bundle until they expire, and so do those that only this process remembers: their certificates are in use.
func (c *Certificates) authority(ctx context.Context, now time.Time) (*authority, []*x509.Certificate, error) {
	secret, own, err := c.read(ctx, c.options.CASecretName)
	if err != nil {
		return nil, nil, err
	}
	var bundle []*x509.Certificate
	if secret != nil {
		var a *authority
		a, bundle, err = decodeAuthority(secret.Data)
		usable := err == nil && now.Before(a.certificate.NotAfter)
		if usable && (!own || now.Before(a.certificate.NotAfter.Add(-c.options.RenewBefore))) {
			return a, join(now, bundle), nil
		}
		if !own {
			return nil, nil, fmt.Errorf("the authority in Secret %s is not usable and not Signet's to replace: %w", secret.Name, orExpired(err))
		}
	}
	a, err := newAuthority("*."+c.options.SystemNamespace+".svc", c.options.KeyAlgorithm, now)
	if err != nil {
		return nil, nil, err
	}
	var remembered []*x509.Certificate
	if m := c.current.Load(); m != nil {
		remembered = m.bundle
	}
	bundle = join(now, []*x509.Certificate{a.certificate}, bundle, remembered)
	data, err := encode(a.key, bundle...)
	if err != nil {
		return nil, nil, err
	}
	log.FromContext(ctx).Info("new certificate authority", "secret", c.options.CASecretName, "until", a.certificate.NotAfter)
	return a, bundle, c.write(ctx, secret, c.options.CASecretName, data)
}

// serving returns the serving certificate, after replacing it if it is due.
func (c *Certificates) serving(ctx context.Context, a *authority, bundle []*x509.Certificate, now time.Time) (*tls.Certificate, error) {
	secret, own, err := c.read(ctx, c.options.TLSSecretName)
	if err != nil {
		return nil, err
	}
	if secret != nil {
		pair, err := decodePair(secret.Data)
		why := orNot(err, func() string { return c.fault(pair.Leaf, bundle, now) })
		if why == "" && (!own || !c.due(pair.Leaf, a, now)) {
			return pair, nil
		}
		if !own {
			return nil, fmt.Errorf("the certificate in Secret %s is not usable and not Signet's to replace: %s", secret.Name, why)
		}
	}
	pair, err := a.issue(c.names, c.options.KeyAlgorithm, now)
	if err != nil {
		return nil, err
	}
	data, err := encode(pair.PrivateKey, pair.Leaf)
	if err != nil {
		return nil, err
	}
	log.FromContext(ctx).Info("new serving certificate", "secret", c.options.TLSSecretName, "until", pair.Leaf.NotAfter)
	return pair, c.write(ctx, secret, c.options.TLSSecretName, data)
}

// fault says why a certificate cannot serve now; empty when it can.
func (c *Certificates) fault(leaf *x509.Certificate, bundle []*x509.Certificate, now time.Time) string {
	if missing := c.names.missing(leaf); len(missing) > 0 {
		return "it does not hold for " + strings.Join(missing, ", ")
	}
	if !trusted(leaf, bundle, now) {
		return "no current authority of the bundle has signed it"
	}
	return ""
}

// due tells whether a certificate that can serve is to be replaced: because it ends soon, or because its authority has
// been. Either way the new authority has to be known to the API server first, unless there is no time left for that.
func (c *Certificates) due(leaf *x509.Certificate, a *authority, now time.Time) bool {
	if leaf.CheckSignatureFrom(a.certificate) == nil && now.Before(leaf.NotAfter.Add(-c.options.RenewBefore)) {
		return false
	}
	settled := !now.Before(a.certificate.NotBefore.Add(backdate + settleTime))
	return settled || !now.Before(leaf.NotAfter.Add(-2*settleTime))
}

func orExpired(err error) error {
	if err == nil {
		return errors.New("it has expired")
	}
	return err
}

func orNot(err error, fault func() string) string {
	if err != nil {
		return err.Error()
	}
	return fault()
}

// read returns a Secret, nil when it does not exist, and whether Signet may write it.
func (c *Certificates) read(ctx context.Context, name string) (secret *corev1.Secret, own bool, err error) {
	var s corev1.Secret
	err = c.client.Get(ctx, client.ObjectKey{Namespace: c.options.SystemNamespace, Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	_, own = s.Labels[certificateLabel]
	return &s, own, nil
}

// write creates a Secret or updates the one that was read, which fails if another replica has been faster.
func (c *Certificates) write(ctx context.Context, read *corev1.Secret, name string, data map[string][]byte) error {
	if read != nil {
		s := read.DeepCopy()
		s.Data = data
		if err := c.client.Update(ctx, s); err != nil {
			return fmt.Errorf("writing Secret %s: %w", name, err)
		}
		return nil
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.options.SystemNamespace, Name: name,
			Labels: map[string]string{certificateLabel: managedBy, nameLabel: nameLabelValue}},
		Type: corev1.SecretTypeTLS, Data: data,
	}
	if err := c.client.Create(ctx, s); err != nil {
		return fmt.Errorf("writing Secret %s: %w", name, err)
	}
	return nil
}
