package kms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/aws/smithy-go"
	vaultapi "github.com/hashicorp/vault/api"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/signet-policy/signet/pkg/egress"
	"github.com/signet-policy/signet/pkg/keyring"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// refusals are the codes by which AWS says for certain that the key is not to be had.
var refusals = []string{
	"NotFoundException", "AccessDeniedException", "DisabledException", "KMSInvalidStateException", "InvalidArnException",
	"UnsupportedOperationException", "InvalidKeyUsageException",
}

// cause tells why there is no key. Its text is ours: those of the services may quote addresses, and what they answered.
func cause(ref verify.Reference, err error) *reason.Error {
	text, unreachable, refused := explain(err)
	e := reason.New(reason.TrustMaterialUnavailable, "the key "+string(ref)+" is not available: "+text)
	e.Unreachable = unreachable
	if refused {
		e.Err = keyring.ErrRefused
	}
	return e
}

func explain(err error) (text string, unreachable, refused bool) {
	var awsError smithy.APIError
	var azureError *azcore.ResponseError
	var vaultError *vaultapi.ResponseError
	switch {
	case errors.Is(err, egress.ErrForbidden):
		return egress.ErrForbidden.Error(), false, true
	case errors.As(err, &awsError):
		code := awsError.ErrorCode()
		if slices.Contains(refusals, code) {
			return "the service refuses it: " + code, false, true
		}
		return "the service has a problem", false, false
	case errors.As(err, &azureError):
		return answered(azureError.StatusCode)
	case errors.As(err, &vaultError):
		return answered(vaultError.StatusCode)
	case strings.Contains(err.Error(), "could not read data from transit key path"):
		return answered(http.StatusNotFound)
	}
	if s, ok := status.FromError(err); ok && s.Code() != codes.OK && s.Code() != codes.Unknown {
		return rpc(s)
	}
	return transport(err)
}

// answered reads an HTTP status.
func answered(code int) (text string, unreachable, refused bool) {
	text = fmt.Sprintf("the service answers %d", code)
	if name := http.StatusText(code); name != "" {
		text += " " + name
	}
	switch code {
	case http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return text, false, true
	}
	return text, false, false
}

// rpc reads the status of a gRPC call.
func rpc(s *status.Status) (text string, unreachable, refused bool) {
	switch s.Code() {
	case codes.NotFound, codes.PermissionDenied, codes.FailedPrecondition, codes.InvalidArgument:
		return "the service refuses it: " + s.Code().String(), false, true
	case codes.Unavailable:
		// The library has no other sign for a connection that was never made.
		if m := s.Message(); strings.Contains(m, "while dialing") || strings.Contains(m, "name resolver error") {
			return "no connection", true, false
		}
	case codes.DeadlineExceeded, codes.Canceled:
		return "no answer in time", false, false
	}
	return "the service has a problem: " + s.Code().String(), false, false
}

// transport tells a connection that could not be made from everything else. Credentials come first: that their source
// cannot be reached says nothing of the service.
func transport(err error) (text string, unreachable, refused bool) {
	var op *net.OpError
	var dns *net.DNSError
	var asked *url.Error
	switch message := err.Error(); {
	case strings.Contains(message, "redential"), strings.Contains(message, "oken"):
		return "no usable credentials for the service", false, false
	case errors.As(err, &dns):
		return "name not resolved", true, false
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection", true, false
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "no answer in time", false, false
	case errors.As(err, &asked) && errors.Is(asked.Err, io.EOF):
		return "connection closed before any answer", true, false
	case strings.Contains(message, "VAULT_ADDR"):
		return "VAULT_ADDR is not set", false, false
	}
	return "no usable answer", false, false
}
