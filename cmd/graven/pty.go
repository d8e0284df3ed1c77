package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A command on a terminal of its own (capture --pty). It holds one side of a
// pseudo-terminal, the tty; we hold the other, the master: what the command
// writes is read there, and what is written there the command takes for typed.
//
//	our input  ──▶ forwardInput ──▶ ┌────────┐     ┌─────┐
//	our signals ─▶ forwardSignals ─▶│ master │ ··· │ tty │ the command
//	our output, KEY/stdout ◀── keep ┴────────┘     └─────┘

const (
	// ptyGrace is how long, in all, reading may wait for processes that the
	// command left on its terminal.
	ptyGrace = 500 * time.Millisecond
	// ptySpill bounds what such processes can add meanwhile. What the command
	// itself wrote is below it: no system keeps that much in a terminal.
	ptySpill = 1 << 20
	// ptyPause is how long to wait for the command to open its terminal again.
	ptyPause = 20 * time.Millisecond

	ctrlD = "\x04" // the end-of-file character of a new terminal
)

// onTerminal runs cmd on a terminal of its own.
func (c *capture) onTerminal(ctx context.Context, dir string, cmd *exec.Cmd, run *runRecord) (err error) {
	stdout, err := os.Create(dir + "/stdout")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stdout.Close()) }()
	master, tty, err := openPty()
	if err != nil {
		return fmt.Errorf("a terminal for the command: %w", err)
	}
	defer master.Close()
	defer tty.Close() // again, if the command was started
	woken, wake, err := os.Pipe()
	if err != nil {
		return err
	}
	defer woken.Close()
	defer wake.Close()
	if in, ok := c.a.in.(*os.File); ok && max(in.Fd(), woken.Fd()) >= unix.FD_SETSIZE {
		return fmt.Errorf("%d files are open already; wanted fewer than %d to run a command on a terminal", woken.Fd(), unix.FD_SETSIZE)
	}
	own := terminalOf(c.a.in, c.a.out)
	size := sizeOf(own)
	run.Pty, run.Rows, run.Columns = true, int(size.Row), int(size.Col)
	if err := setSize(master, size); err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}

	// From here on signals are not for us, so that each way out passes Restore.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGWINCH, syscall.SIGQUIT)
	if !signal.Ignored(syscall.SIGHUP) { // nohup stays in force
		signal.Notify(signals, syscall.SIGHUP)
	}
	divert(ctx, signals)
	defer func() {
		divert(ctx, nil)
		signal.Stop(signals)
	}()
	if in := terminalOf(c.a.in); in != nil {
		mode, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return fmt.Errorf("raw mode of the terminal: %w", err)
		}
		defer func() { _ = term.Restore(int(in.Fd()), mode) }() // if it is gone there is nothing to restore
	}

	if err := cmd.Start(); err != nil {
		return &startError{c.argv[0], err}
	}
	_ = tty.Close() // now only the command's side holds it, and reading ends when that lets go
	ended := make(chan struct{})
	var waited error
	var helpers sync.WaitGroup
	helpers.Go(func() {
		waited = cmd.Wait()
		_ = master.SetDeadline(time.Now()) // wakes who reads and writes
		close(ended)
	})
	helpers.Go(func() { forwardSignals(ctx, signals, ended, cmd.Process.Pid, own, master) })
	helpers.Go(func() { forwardInput(c.a.in, master, woken) })
	out := &keeper{file: stdout, show: c.a.out}
	keep(out, master, ended)
	_ = wake.Close()
	helpers.Wait()
	c.sayHidden(out.showErr)
	if out.fileErr != nil {
		return fmt.Errorf("the command ended, and its output could not be kept: %w", out.fileErr)
	}
	return waited
}

// openPty opens a terminal. The master takes deadlines: a read of it must end
// also if some process holds the terminal for ever.
func openPty() (master, tty *os.File, err error) {
	m, tty, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	fd, err := unix.FcntlInt(m.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, nil, errors.Join(err, tty.Close())
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(fd), tty.Close())
	}
	master = os.NewFile(uintptr(fd), m.Name()) // non-blocking, so package os polls it
	if err := master.SetDeadline(time.Time{}); err != nil {
		return nil, nil, errors.Join(err, master.Close(), tty.Close())
	}
	return master, tty, nil
}

// terminalOf is the first of the streams that is a terminal, or nil.
func terminalOf(streams ...any) *os.File {
	for _, s := range streams {
		if f, ok := s.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return f
		}
	}
	return nil
}

// sizeOf is the size of a terminal, or what terminals always had.
func sizeOf(f *os.File) *unix.Winsize {
	if f != nil {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Row > 0 && size.Col > 0 {
			return size
		}
	}
	return &unix.Winsize{Row: 24, Col: 80}
}

// setSize does not ask master for its Fd: that would make it block.
func setSize(master *os.File, size *unix.Winsize) error {
	conn, err := master.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
	return errors.Join(err, failed)
}

// forwardSignals gives the command our signals until it has ended: a new size to
// its terminal, all others to its process group, as a terminal does.
func forwardSignals(ctx context.Context, signals <-chan os.Signal, ended <-chan struct{}, pid int, own, master *os.File) {
	cancelled := ctx.Done()
	for {
		select {
		case <-ended:
			return
		case <-cancelled:
			cancelled = nil
			_ = syscall.Kill(-pid, syscall.SIGTERM)
		case s := <-signals:
			if s == syscall.SIGWINCH {
				_ = setSize(master, sizeOf(own))
			} else if s, ok := s.(syscall.Signal); ok {
				_ = syscall.Kill(-pid, s)
			}
		}
	}
}

// keep reads the master until the command has ended and its terminal holds no
// more.
func keep(out *keeper, master *os.File, ended <-chan struct{}) {
	buf := make([]byte, 32<<10)
	for running := true; running; {
		n, err := master.Read(buf)
		_, _ = out.Write(buf[:n])
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			running = false
		default:
			// Nobody has the terminal open; Linux says EIO, others end of file.
			// It is the end if the command ended. Else it may yet open /dev/tty.
			select {
			case <-ended:
				running = false
			case <-time.After(ptyPause):
			}
		}
	}
	<-ended
	// A deadline that is ahead when a read begins never hides what is there. Only
	// the waiting counts, for to show the output may take any time.
	for wait, left := ptyGrace, ptySpill; wait > 0 && left > 0; {
		began := time.Now()
		if err := master.SetReadDeadline(began.Add(wait)); err != nil {
			return
		}
		n, err := master.Read(buf)
		wait -= time.Since(began)
		left -= n
		_, _ = out.Write(buf[:n])
		if err != nil {
			return
		}
	}
}

// forwardInput writes what comes on our standard input to the master, and at its
// end the terminal's end-of-file character. It ends when the other end of woken is
// closed; with input that is no file it waits, as package exec does, until that returns.
func forwardInput(in io.Reader, master, woken *os.File) {
	if in == nil {
		in = eof{}
	}
	file, _ := in.(*os.File)
	buf, last := make([]byte, 4<<10), byte('\n')
	for {
		if file != nil && !readable(file, woken) {
			return
		}
		n, err := in.Read(buf)
		if n > 0 {
			last = buf[n-1]
			if _, err := master.Write(buf[:n]); err != nil {
				return // the command has ended, or let go of its terminal
			}
		}
		if err != nil {
			break
		}
	}
	if terminalOf(in) != nil {
		return // it has hung up: what the command makes of SIGHUP counts
	}
	end := ctrlD
	if last != '\n' {
		end += ctrlD // the first one hands over the line that has no end
	}
	_, _ = io.WriteString(master, end) // as above
}

// eof is an input without a byte.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// readable waits until f has something to read, or its end, or reports false if
// woken has. It is select(2) because poll(2) knows no terminals on darwin, and
// because a terminal that is shared must not be made non-blocking.
func readable(f, woken *os.File) bool {
	a, b := int(f.Fd()), int(woken.Fd())
	for {
		var set unix.FdSet
		set.Set(a)
		set.Set(b)
		switch _, err := unix.Select(max(a, b)+1, &set, nil, nil, nil); {
		case errors.Is(err, unix.EINTR):
		case err != nil || set.IsSet(b):
			return false
		default:
			return true
		}
	}
}
