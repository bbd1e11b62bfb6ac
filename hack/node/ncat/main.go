// Command ncat is the one program in the Pods of hack/node: it answers every connection as the lab's container does, or,
// without NCAT_PORT, does nothing until it is told to end, which is all that a Pod's sandbox has to do.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if port := os.Getenv("NCAT_PORT"); port != "" {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			fmt.Fprintln(os.Stderr, "ncat:", err)
			os.Exit(1)
		}
		go answer(l, fmt.Sprintf("%s\n\n%s\n", os.Getenv("NCAT_HEADER"), os.Getenv("NCAT_MESSAGE")))
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}

func answer(l net.Listener, text string) {
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "ncat:", err)
			os.Exit(1)
		}
		_, _ = c.Write([]byte(text))
		_ = c.Close()
	}
}
