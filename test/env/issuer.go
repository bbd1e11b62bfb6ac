package env

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// Issuer is an OIDC issuer in this process: it publishes its key as Fulcio reads it, and makes the identity tokens that a
// login would give. It asks nobody for a password.
type Issuer struct {
	// URL is the issuer's name, on loopback and without TLS, which Fulcio accepts.
	URL string

	key    *rsa.PrivateKey
	server *http.Server
}

// tokenAudience is the client id that cosign and Fulcio agree on.
const tokenAudience = "sigstore"

// keyID names the issuer's only key.
const keyID = "1"

// StartIssuer starts an issuer with a fresh key.
func StartIssuer() (*Issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("starting the issuer: %w", err)
	}
	i := &Issuer{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "alg": "RS256", "use": "sig", "kid": keyID,
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		}}})
	})
	if i.server, i.URL, err = serveLoopback(mux); err != nil {
		return nil, fmt.Errorf("starting the issuer: %w", err)
	}
	return i, nil
}

// Stop ends the issuer.
func (i *Issuer) Stop() { _ = i.server.Close() }

// Token is an identity token with the claims, good for ten minutes.
func (i *Issuer) Token(claims map[string]any) (string, error) {
	now := time.Now()
	all := map[string]any{"iss": i.URL, "aud": tokenAudience, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "sub": "somebody"}
	maps.Copy(all, claims)
	var parts [2]string
	for n, v := range []any{map[string]string{"alg": "RS256", "typ": "JWT", "kid": keyID}, all} {
		raw, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("making a token: %w", err)
		}
		parts[n] = base64.RawURLEncoding.EncodeToString(raw)
	}
	text := parts[0] + "." + parts[1]
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("making a token: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

// Mail is a token of a person with a verified address.
func (i *Issuer) Mail(address string) (string, error) {
	return i.Token(map[string]any{"email": address, "email_verified": true, "sub": address})
}

// Workflow is a token of a run of a GitHub workflow: repository is "owner/name", workflow the file's name, ref the full
// name of a branch or tag, and event what started the run.
func (i *Issuer) Workflow(repository, workflow, ref, event string) (string, error) {
	const commit = "8d4e1f5a6b7c8091a2b3c4d5e6f708192a3b4c5d"
	owner, _, _ := strings.Cut(repository, "/")
	at := repository + "/.github/workflows/" + workflow + "@" + ref
	return i.Token(map[string]any{
		"sub": "repo:" + repository + ":ref:" + ref, "repository": repository, "repository_owner": owner, "repository_id": "101", "repository_owner_id": "11",
		"workflow": workflow, "workflow_ref": at, "workflow_sha": commit, "job_workflow_ref": at, "job_workflow_sha": commit, "ref": ref, "sha": commit,
		"event_name": event, "runner_environment": "github-hosted", "run_id": "7", "run_attempt": "1", "repository_visibility": "public",
	})
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}
