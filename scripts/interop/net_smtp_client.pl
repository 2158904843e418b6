# Sends the message on standard input with Net::SMTP:
#
#   net_smtp_client.pl CA FROM TO PORT plain|starttls|ssl [MECHANISM PASSWORD-FILE]
#
# Exits 3 if AUTH is refused.
use strict;
use warnings;
use Authen::SASL;
use Net::SMTP;

my ($ca, $from, $to, $port, $tls, $mechanism, $password_file) = @ARGV;
my %ssl = (SSL_ca_file => $ca, SSL_verifycn_name => 'localhost', SSL_verify_mode => 1);

sub done { my ($client, $ok, $what, $code) = @_; return if $ok; print STDERR "$what: ", $client->message; exit($code // 1) }

my $smtp = Net::SMTP->new('127.0.0.1', Port => $port, Hello => 'client.example', Timeout => 30, $tls eq 'ssl' ? (SSL => 1, %ssl) : ())
  or die "no connection: $@";
done($smtp, $smtp->starttls(%ssl), 'STARTTLS') if $tls eq 'starttls';
if ($mechanism) {
    open my $f, '<', $password_file or die $!;
    chomp(my $password = <$f>);
    my $sasl = Authen::SASL->new(mechanism => $mechanism, callback => { user => $from, authname => '', pass => $password });
    done($smtp, $smtp->auth($sasl), 'AUTH', 3);
}
done($smtp, $smtp->mail($from, Bits => '8'), 'MAIL');
done($smtp, $smtp->to($to), 'RCPT');
binmode STDIN;
my $message = do { local $/; <STDIN> };
done($smtp, $smtp->data($message), 'DATA');
$smtp->quit;
