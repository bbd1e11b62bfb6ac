package env

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

// newTunnel is an HTTP proxy that answers CONNECT for the hosts' port 443 by a tunnel to addr, and refuses the rest.
func newTunnel(addr string, hosts []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, port, err := net.SplitHostPort(r.Host)
		if r.Method != http.MethodConnect || err != nil || port != "443" || !slices.Contains(hosts, host) {
			http.Error(w, fmt.Sprintf("no internet here: %s %s is not one of %v", r.Method, r.Host, hosts), http.StatusBadGateway)
			return
		}
		upstream, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer upstream.Close()
		client, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer client.Close()
		if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			return
		}
		finished := make(chan struct{}, 2)
		go func() { _, _ = io.Copy(upstream, buffered); finished <- struct{}{} }()
		go func() { _, _ = io.Copy(client, upstream); finished <- struct{}{} }()
		<-finished // closing both ends the other copy
	})
}
