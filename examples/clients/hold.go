// Run a command while a token is held: hold SOCKET NAME COMMAND...
// Exit code: the command's; 75 if the token was not granted, 76 if it was lost meanwhile.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
)

func main() {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", os.Args[1])
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial}}
	answer, err := client.Post("http://coord/v1/tokens/"+os.Args[2]+"?timeout=60", "", nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, "the token was not granted", err)
		os.Exit(75)
	}
	lines := bufio.NewReader(answer.Body)
	line, _ := lines.ReadBytes('\n')
	var holding struct{ Term int64 }
	if json.Unmarshal(line, &holding) != nil {
		os.Exit(75)
	}
	work := exec.Command(os.Args[3], os.Args[4:]...)
	work.Env = append(os.Environ(), fmt.Sprint("COORD_TERM=", holding.Term))
	work.Stdin, work.Stdout, work.Stderr = os.Stdin, os.Stdout, os.Stderr
	go func() { // a second line, or the end of the answer: the token is lost
		_, _ = lines.ReadBytes('\n')
		if work.Process != nil {
			_ = work.Process.Kill()
		}
		os.Exit(76)
	}()
	if err := work.Run(); err != nil {
		var ended *exec.ExitError
		if errors.As(err, &ended) {
			os.Exit(ended.ExitCode())
		}
		os.Exit(127)
	}
}
