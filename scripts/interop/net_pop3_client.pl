# For pop3.sh: fetches mail with Net::POP3.
#   net_pop3_client.pl GOT CA PASSWORD-FILE ssl|stls PORT leave|delete
use strict;
use warnings;
use Net::POP3;

my ($got, $ca, $password_file, $way, $port, $end) = @ARGV;
open(my $in, '<', $password_file) or die "$password_file: $!";
chomp(my $password = <$in>);
my @tls = (SSL_ca_file => $ca, SSL_verifycn_name => 'localhost');
my $pop = Net::POP3->new('localhost', Port => $port, Timeout => 20, $way eq 'ssl' ? (SSL => 1, @tls) : ())
  or die "connect: $@";
$way eq 'ssl' or $pop->starttls(@tls) or die 'starttls: ' . $pop->message;
unless (defined $pop->login('alice', $password)) {
  print STDERR 'login: ', $pop->message;
  exit 3;
}
my $sizes = $pop->list or die 'list: ' . $pop->message;
my $ids = $pop->uidl or die 'uidl: ' . $pop->message;
keys %$ids == keys %$sizes or die 'uidl and list differ';
for my $n (sort keys %$sizes) {
  my $lines = $pop->get($n) or die "get $n: " . $pop->message;
  open(my $out, '>:raw', "$got/new/$n") or die $!;
  print $out @$lines;
  close $out or die $!;
  $end eq 'leave' or $pop->delete($n) or die "delete $n: " . $pop->message;
}
$pop->quit or die 'quit: ' . $pop->message;
