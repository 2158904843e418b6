# The mail client on a terminal, driven by tmux as a person would: the menu, with
# its questions, and a hostile message on the screen. Needs: tmux.
need tmux "$python"
export LC_ALL=C.UTF-8
screens=0
tmux=(tmux -S "$PWD/tmux.$screens" -f /dev/null) # a server for each screen
close_terminal() { "${tmux[@]}" kill-server 2>/dev/null || true; }
cleanups+=(close_terminal)

echo 'correct horse' >password
serve server --keys server --data data serve --listen smtp=127.0.0.1:0 --listen pop3=127.0.0.1:0 --listen regd=127.0.0.1:0
smtp=127.0.0.1:$(port server smtp) pop3=127.0.0.1:$(port server pop3) regd=127.0.0.1:$(port server regd)
mkdir alice bob
person() { # NAME COMMAND...
  (cd "$1" && HOME=$PWD XDG_CONFIG_HOME=$PWD/.config "${@:2}")
}
fingerprint=$(xm --keys server key list | sed -n 's/^key *//p')
person bob xm register --server "$regd" --server-key "$fingerprint" --password-file ../password bob >/dev/null 2>&1
person bob xm login bob --smtp "$smtp" --pop3 "$pop3" --password-file ../password >/dev/null 2>&1

# open NAME COMMAND: a terminal in which NAME runs it.
open() {
  close_terminal
  screens=$((screens + 1))
  tmux=(tmux -S "$PWD/tmux.$screens" -f /dev/null)
  person "$1" "${tmux[@]}" new-session -d -x 100 -y 40 "$2; echo exit code \$?; exec sleep 1000"
}
# shows TEXT: the screen has it, soon.
shows() {
  local tries
  for tries in $(seq 100); do
    ! "${tmux[@]}" capture-pane -p -S - | grep -qF -- "$1" || return 0
    sleep 0.1
  done
  "${tmux[@]}" capture-pane -p -S -
  echo "the screen does not show: $1"
  return 1
}
types() { "${tmux[@]}" send-keys -l -- "$1" && "${tmux[@]}" send-keys Enter; }
# answers PROMPT TEXT: waits for the question, and types.
answers() { shows "$1" && types "$2" && "${tmux[@]}" clear-history; }
hides() { ! "${tmux[@]}" capture-pane -p -S - | grep -F -- "$1"; }

group 'xm client on a terminal'
open alice "xm client --user alice --smtp $smtp --pop3 $pop3"
check 'the menu' shows '4. Exit'
check 'registering' answers 'Your choice:' 1
check 'a name' answers 'The name that you want:' alice
check 'a server' answers 'The registration server:' "$regd"
check 'its key, and a yes' answers 'fingerprint' yes
check 'a password' answers 'assword' 'correct horse'
check 'the password again' answers 'gain' 'correct horse'
check 'registered' shows 'alice is registered'
check 'no password on the screen' hides 'correct horse'
part_of_menu() { shows '4. Exit' && types "$1"; }
check 'sending' part_of_menu 2
check 'to whom' answers 'To:' bob
check 'about what' answers 'Subject:' 'Plans for tonight'
check 'the message' answers 'ends it:' 'At nine, at the bridge.'
check 'its end' types .
check 'a password' answers 'assword' 'correct horse'
check 'sent' shows 'sent to bob'
check 'the end' types 4
check 'exit code 0' shows 'exit code 0'

group 'xm read on a terminal'
open bob 'xm read 1'
check 'the subject' shows 'Subject: Plans for tonight'
check 'the text' shows 'At nine, at the bridge.'
# Whoever can send plain mail can send this: a title, another colour, a cursor
# moved to the top to write over what xm said, a line that looks like xm's.
"$python" - >hostile.eml <<'PY'
import sys
sys.stdout.buffer.write(b"From: \x1b[2Jbob <bob@localhost>\r\nSubject: \x1b]0;owned\x07 =?utf-8?B?G1szMW1yZWQ=?=\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n\x1b[1;1Hxm: this is verified\r\n"
    b"\xc2\x9b31mC1 and \xe2\x80\xae bidi\r\nxm: message 2 is signed\r\n" + b"\x08" * 200 + b"end of it\r\n")
PY
curl -sS "smtp://$smtp/" --mail-from eve@elsewhere.example --mail-rcpt bob@localhost -T hostile.eml
open bob 'xm read 2; xm inbox'
check 'it is shown' shows 'end of it'
check 'the screen was not cleared' shows 'xm: '
marked() { shows '| xm: message 2 is signed' && shows 'xm: this is verified' && ! "${tmux[@]}" capture-pane -p -S - | grep -n '^xm: this is verified'; }
check 'its lines are marked as its own' marked
titled() { [ "$("${tmux[@]}" display-message -p '#{pane_title}')" != owned ]; }
check 'no title was set' titled
plain_text() { ! "${tmux[@]}" capture-pane -p -e -S - | grep -q $'\e\[31m'; }
check 'no colour was set' plain_text
close_terminal
