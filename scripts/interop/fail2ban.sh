# What fail2ban's filter finds in xm's log: who failed to log in or abused a
# service, and never somebody else, whatever they claim to be called. Needs:
# fail2ban, openssl.
need "$python" openssl fail2ban-regex fail2ban-client

conf=$repo/scripts/fail2ban
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 \
  -subj '/CN=localhost' 2>openssl.log || { cat openssl.log >&2; fatal 'openssl made no certificate'; }

# found FILE [OPTION...]: the addresses that the filter finds, sorted.
found() { fail2ban-regex "${@:2}" -o ip "$1" "$conf/filter.d/xm.conf" | sort; }
# undated FILE: how many of them have no date that the filter reads.
undated() { fail2ban-regex -o row "$1" "$conf/filter.d/xm.conf" | grep -c 'None,\s*{'; }
# finds EXPECTED FILE [OPTION...]: they are those of EXPECTED.
finds() { diff "$1" <(found "${@:2}"); }

for format in text json; do
  group "fail2ban: $format"
  cat >"$format.toml" <<TOML
[tls]
cert = "cert.pem"
key = "key.pem"
[login]
failure_delay = "0s"
[smtp]
proxies = ["127.0.0.1/32"]
[pop3]
proxies = ["127.0.0.1/32"]
[log]
format = "$format"
level = "debug"
TOML
  serve "$format" --data "$format.data" --config "$format.toml" serve --listen smtp=127.0.0.1:0 --listen pop3=127.0.0.1:0 --listen regd=127.0.0.1:0
  smtp=$(port "$format" smtp) pop3=$(port "$format" pop3)
  "$python" "$repo/scripts/interop/fail2ban.py" "$smtp" "$pop3" | sort >"$format.expected" || fatal 'nobody could fail'
  stop_servers # so that the log is complete
  [ "$(wc -l <"$format.expected")" -gt 20 ] || fatal 'too few have failed'
  # The log holds the forged address, so that the filter could fall for it.
  check "$format: the forged address is in the log" grep -q 203.0.113.9 "$format.log"
  check "$format: from a file" finds "$format.expected" "$format.log"
  check "$format: with their dates" [ "$(undated "$format.log")" = 0 ]
  # The journal's lines have no date for fail2ban, which has it from elsewhere.
  sed 's/^/mail xm[123]: /' "$format.log" >"$format.journal"
  check "$format: from the journal" finds "$format.expected" "$format.journal" --datepattern '{NONE}'
done

group 'fail2ban: configuration'
cp -r /etc/fail2ban etc
cp -r "$conf"/* etc/
rm -f etc/jail.d/defaults-debian.conf # for sshd
check 'fail2ban takes the filter and the jail' fail2ban-client -c etc -t
jail_starts() { fail2ban-client -c etc -d | grep -E "'add', 'xm', 'systemd'"; }
check 'the jail is enabled' jail_starts
