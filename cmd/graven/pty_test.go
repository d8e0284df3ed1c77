package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// person is somebody at a terminal at which graven runs in the foreground.
type person struct {
	t           *testing.T
	master, tty *os.File
	cmd         *exec.Cmd
	before      *term.State // the terminal's mode, as a shell wants it
	seen        string      // on the screen since the last look
}

// newPerson runs `graven capture k --pty -- sh -c script` at a terminal of 30 rows and 100 columns.
func newPerson(t *testing.T, store, script string) *person {
	t.Helper()
	mustRun(t, store, "init")
	p := &person{t: t}
	var err error
	if p.master, p.tty, err = openPty(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(p.master.Close(), p.tty.Close()) })
	p.resize(30, 100)
	p.before = p.mode()
	p.cmd = command(t, store, "capture", "k", "--pty", "--", "sh", "-c", script)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.tty, p.tty, p.tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *person) resize(rows, columns uint16) {
	p.t.Helper()
	if err := setSize(p.master, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) mode() *term.State {
	p.t.Helper()
	state, err := term.GetState(int(p.tty.Fd()))
	if err != nil {
		p.t.Fatal(err)
	}
	return state
}

func (p *person) types(text string) {
	p.t.Helper()
	if _, err := p.master.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) signals(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// sees waits until the screen shows a text behind the one before.
func (p *person) sees(text string) {
	p.t.Helper()
	if err := p.master.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 1000)
	for {
		if _, after, ok := strings.Cut(p.seen, text); ok {
			p.seen = after
			return
		}
		n, err := p.master.Read(buf)
		p.seen += string(buf[:n])
		if err != nil {
			p.t.Fatalf("the screen shows %q, wanted %q: %v", p.seen, text, err)
		}
	}
}

// leaves waits for graven to end with a code, and looks whether the terminal is as it was.
func (p *person) leaves(code int) {
	p.t.Helper()
	p.sees("recorded: ")
	_ = p.cmd.Wait() // the code says it
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, wanted %d", got, code)
	}
	if !reflect.DeepEqual(p.mode(), p.before) {
		p.t.Error("the terminal's mode is another than before")
	}
}

// TestCaptureAtTerminal: keys and sizes reach the command and nobody else.
func TestCaptureAtTerminal(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	p := newPerson(t, store, `
		trap 'stty size; echo resized' WINCH
		trap 'echo interrupted' INT
		stty size; echo ready
		until read -r line; do :; done
		echo "line $line"; exit 5`)
	p.sees("30 100\r\nready\r\n")
	if reflect.DeepEqual(p.mode(), p.before) {
		t.Error("the terminal is not in raw mode")
	}
	p.resize(41, 77)
	p.sees("41 77\r\nresized\r\n")
	p.types("\x03")
	p.sees("interrupted\r\n")
	p.types("hello\r")
	p.sees("hello\r\n") // the echo, by the command's terminal alone
	p.sees("line hello\r\n")
	p.leaves(5)
	if got := mustRun(t, store, "get", "k/stdout"); strings.Count(got, "hello") != 2 || !strings.Contains(got, "41 77\r\n") {
		t.Errorf("recorded is %q", got)
	}
	if got := mustRun(t, store, "get", "k/run.json"); !strings.Contains(got, `"exit":5`) || !strings.Contains(got, `"pty":true,"rows":30,"columns":100`) {
		t.Errorf("recorded is %s", got)
	}
}

// TestCaptureSignals: what we are sent the command is sent, each time.
func TestCaptureSignals(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	p := newPerson(t, store, `
		trap 'echo int' INT; trap 'echo term' TERM; trap 'echo hup' HUP
		echo ready
		until read -r line; do :; done
		trap - TERM; echo last
		while :; do sleep 1; done`)
	p.sees("ready\r\n")
	for _, s := range []struct {
		signal syscall.Signal
		says   string
	}{{syscall.SIGINT, "int"}, {syscall.SIGINT, "int"}, {syscall.SIGHUP, "hup"}, {syscall.SIGTERM, "term"}, {syscall.SIGTERM, "term"}} {
		p.signals(s.signal)
		p.sees(s.says + "\r\n")
	}
	p.types("\r")
	p.sees("last\r\n")
	p.signals(syscall.SIGTERM)
	p.leaves(128 + int(syscall.SIGTERM))
	if got := mustRun(t, store, "get", "k/run.json"); !strings.Contains(got, `"signal":"terminated"`) {
		t.Errorf("recorded is %s", got)
	}
}

// TestCaptureLeftBehind: a process that keeps the terminal open keeps nobody
// waiting, whether it is silent or not; what the command wrote is all there.
func TestCaptureLeftBehind(t *testing.T) {
	for _, left := range []string{"sleep 600", "yes"} {
		store := filepath.Join(t.TempDir(), "store")
		mustRun(t, store, "init")
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, "graven", "--store", store, "capture", "k", "--pty", "--", "sh", "-c", `trap '' HUP; echo "began"; `+left+` & echo "left $!."; echo end`)
		err := cmd.Run()
		stop()
		got := mustRun(t, store, "get", "k/stdout")
		_, rest, _ := strings.Cut(got, "left ")
		number, _, _ := strings.Cut(rest, ".")
		pid, notNumber := strconv.Atoi(number)
		if err != nil || notNumber != nil || !strings.Contains(got, "end\r\n") {
			t.Fatalf("%s: %v; recorded is %.100q", left, err, got)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && left != "yes" { // that ends with its terminal
			t.Errorf("%s was not left behind: %v", left, err)
		}
	}
}

// TestCaptureUnseen: whoever watches may go; the record is whole.
func TestCaptureUnseen(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	mustRun(t, store, "init")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	defer w.Close()
	cmd := command(t, store, "capture", "k", "--pty", "--", "seq", "1", "30000")
	cmd.Stdout = w
	var talk strings.Builder
	cmd.Stderr = &talk
	if err := cmd.Run(); err != nil || !strings.Contains(talk.String(), "recorded and not shown") {
		t.Errorf("%v: %s", err, &talk)
	}
	if got := mustRun(t, store, "get", "k/stdout"); !strings.HasSuffix(got, "\r\n30000\r\n") {
		t.Errorf("recorded are %d bytes", len(got))
	}
}
