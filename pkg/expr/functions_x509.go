package expr

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
)

// x509Decode shows a PEM certificate or certificate request as an object with the field names of crypto/x509.
func x509Decode(ev *evaluation, args []any) (any, error) {
	text := args[0].(string)
	if len(text) > maxParse/16 {
		return nil, fmt.Errorf("%w: certificate too long", ErrLimit)
	}
	if err := ev.parsing(text); err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("not a PEM block")
	}
	var (
		shown any
		key   map[string]any
		err   error
	)
	switch block.Type {
	case "CERTIFICATE":
		cert, parseErr := x509.ParseCertificate(block.Bytes)
		if parseErr != nil {
			return nil, fmt.Errorf("not a certificate: %w", parseErr)
		}
		key, err = publicKey(cert.PublicKey)
		cert.PublicKey = nil
		shown = cert
	case "CERTIFICATE REQUEST":
		request, parseErr := x509.ParseCertificateRequest(block.Bytes)
		if parseErr != nil {
			return nil, fmt.Errorf("not a certificate request: %w", parseErr)
		}
		key, err = publicKey(request.PublicKey)
		request.PublicKey = nil
		shown = request
	default:
		return nil, fmt.Errorf("a PEM block of type %q is neither a certificate nor a certificate request", clip(block.Type))
	}
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(shown)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, err
	}
	out["PublicKey"] = key
	return ev.scope.normalize(out)
}

// publicKey shows a key; whole numbers are text, since a JSON number cannot hold them.
func publicKey(key any) (map[string]any, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return map[string]any{"N": k.N.String(), "E": float64(k.E)}, nil
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			return nil, err
		}
		return map[string]any{"Curve": k.Params().Name, "Point": base64.StdEncoding.EncodeToString(point)}, nil
	case ed25519.PublicKey:
		return map[string]any{"Ed25519": base64.StdEncoding.EncodeToString(k)}, nil
	}
	return nil, fmt.Errorf("unknown kind of public key %T", key)
}
