"""What a delivery of JetStream tells of itself."""

from bus.jetstream.ticket import TicketOrigin, origin_of


def test_a_delivery_tells_its_origin_in_both_forms_of_the_reply_subject():
    old = "$JS.ACK.INBOX_acme.commands.3.17.21.1700000000123456789.4"
    new = "$JS.ACK.hub.aBcD.INBOX_acme.commands.3.17.21.1700000000123456789.4.xyz"

    assert origin_of(old) == origin_of(new) == TicketOrigin(3, 1700000000123456789, 17)
