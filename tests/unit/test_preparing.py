"""What is embedded of a mail is the question in it; what is plain stays as it was sent, to the byte."""

from __future__ import annotations

import re
import time
import tomllib
from importlib.resources import files
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.prepared import about_in
from questream.preparing.about import about_first
from questream.preparing.html import is_html
from questream.preparing.line import Line
from questream.preparing.mail import said_in
from questream.preparing.phrases import Beginnings, Sayings

QUESTION = "My card was declined twice this morning. Can you unblock it?"
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38G\n" * 3 + "IAAAAASUVORK5CYII="
FORWARDED = f"From: Anna <a@x.example>\nSent: Monday\nTo: Bo\nSubject: Hello\n\nHi,\n\n{QUESTION}\n\nThanks,\nAnna"

MAILS = {
    "greeting and closing": f"Hi Tom,\n\n{QUESTION}\n\nBest regards,\nAnna Meyer\n",
    "windows line ends": f"Hello,\r\n\r\n{QUESTION}\r\n\r\nThanks\r\nAnna\r\n",
    "greeting in the same line": f"Good morning team, {QUESTION}\nMany thanks,\nAnna",
    "dashes and a block of addresses": f"{QUESTION}\n\n--\nAnna Meyer | Purchasing\nNorthwind Ltd.\n+44 20 7946 0958",
    "signature in one line of parts": (
        f"Hello,\n\n{QUESTION}\n\nMany thanks,\nAnn Lee | Purchasing | Northwind Ltd. | 12 Harbour Road, Leeds LS1 4AP"
    ),
    "addresses without a rule": f"Hello\n\n{QUESTION}\n\nAnna Meyer\nHead of Sales\nTel: 020 7946 0958\nwww.nw.example",
    "telephone's own line": f"{QUESTION}\n\nSent from my iPhone",
    "legal notice": (
        f"Dear all,\n\n{QUESTION}\n\nRegards\nAnna\n\nThis message is confidential. If you are not the intended"
        " recipient, notify the sender and delete it."
    ),
    "reply above a marked quote": (
        f"{QUESTION}\n\nOn 3 Mar 2026 at 09:12, Support <help@shop.example> wrote:\n> Dear Anna,\n> is there more?\n"
    ),
    "attribution in two lines": (
        f"Hi,\n{QUESTION}\n\nOn Monday, 3 March 2026 at 09:12:10 CET, Customer Support Team\n"
        "<help@shop.example> wrote:\n\n> We got your ticket.\n"
    ),
    "reply above an unmarked quote": (
        f"{QUESTION}\n\n-----Original Message-----\nFrom: Support\nSent: Monday\nTo: Anna\nSubject: Ticket\n\n"
        "Is there more?"
    ),
    "Outlook's rule": (
        f"Hello,\n{QUESTION}\n\n________________________________\nFrom: Support <help@shop.example>\n"
        "Sent: 3 March 2026 09:12\nTo: Anna\nSubject: RE: Ticket\n\nIs there anything else?"
    ),
    "answer below a quote": (
        f"On 3 March 2026 at 09:12, Support <help@shop.example> wrote:\n> Is there anything else?\n\n{QUESTION}\n\nAnna"
    ),
    "forwarded": (
        "---------- Forwarded message ---------\nFrom: Anna <a@x.example>\nDate: Mon, 3 Mar 2026\nSubject: Hello\n"
        f"To: <help@shop.example>\n\nHi,\n\n{QUESTION}\n\nThanks,\nAnna"
    ),
    "ticket's header": (
        f"Ticket #482913\nRequester: Anna Meyer\nPriority: High\nCreated: 2026-03-03 09:12\n\nHello,"
        f"\n\n{QUESTION}\n\nThank you!"
    ),
    "German": (
        f"Sehr geehrte Damen und Herren,\n\n{QUESTION}\n\nMit freundlichen Grüßen\nAnna Meyer\n\nGeschäftsführer: Bo"
        " Berg | Amtsgericht Köln HRB 1234"
    ),
    "German quote": f"{QUESTION}\n\nViele Grüße\nAnna\n\nAm 03.03.2026 um 09:12 schrieb Bo <h@shop.example>:\n> Hallo",
    "French": f"Bonjour,\n\n{QUESTION}\n\nCordialement,\nAnna\n\nLe 3 mars 2026 à 09:12, Support a écrit :\n> Salut",
    "Spanish": f"Buenos días:\n\n{QUESTION}\n\nUn saludo,\nAna\n\nEl 3 mar 2026, a las 9:12, Ayuda escribió:\n> Hola",
    "notice that asks": f"Hello,\n\n{QUESTION}\n\nAnna\n\nPlease consider the environment before printing this email.",
    "German notice that asks": f"Hallo,\n\n{QUESTION}\n\nGruß\nAnna\n\nBitte informieren Sie bei Irrtum den Absender.",
    "closing in words that no list has": f"Hi,\n\n{QUESTION}\n\nWarm wishes from Rome,\nDr. Petra Novak",
    "salutation in words that no list has": f"Hello bank team,\n\n{QUESTION}\n\nMany thanks and best wishes,\nM. Rossi",
    "telephone's line below a closing": f"Hi,\n\n{QUESTION}\n\nWarmly,\nAnna\n\nSent from Yahoo Mail on Android",
    "thanks in the last line": f"Hello,\n\n{QUESTION} Thanks in advance.\n\nRegards\nAnna",
    "name below what asks for an answer": f"Hello,\n\n{QUESTION}\n\nPlease let me know.\nAnna Meyer",
    "German thanks in the last line": (
        f"Guten Tag,\n\n{QUESTION} Vielen Dank im Voraus!\n\nMit freundlichen Grüßen\nAnna"
    ),
    "HTML": f"<html><body><p>Hello,</p><p>{QUESTION}</p><p>Thanks,<br>Anna</p></body></html>",
    "HTML fragment": f"<div>Hi team,<br><br>{QUESTION}<br><br>Kind regards<br>Anna</div>",
    "HTML with a marked quote": (
        f'<div dir="ltr">{QUESTION}</div><br><div class="gmail_quote"><div>On Mon Support wrote:</div>'
        "<blockquote>Is there more?</blockquote></div>"
    ),
    "HTML with a paragraph for each line of a quoted header": (
        f"<div><p>Hello,</p><p>{QUESTION}</p><p>Thanks,</p><p>Anna</p><p>From: Support</p><p>Sent: Monday</p>"
        "<p>To: Anna</p><p>Subject: Ticket</p><p>Is there more?</p></div>"
    ),
    "telephone's line with small words": f"Hi,\n\n{QUESTION}\n\nAnna\n\nSent from Outlook for iOS",
    "notice that asks back": (
        f"Hi,\n\n{QUESTION}\n\nThanks\nAnna\n\nDo you really need to print this? Consider the environment.\n\nNorthwind"
    ),
    "forwarded with a word": f"FYI\n\n---------- Forwarded message ---------\n{FORWARDED}",
    "forwarded with a sentence": f"Please see below.\n\nBest,\nBo\n\n{FORWARDED}",
    "German, forwarded": f"zur Info, siehe unten\n\nGruß\nBo\n\n{FORWARDED}",
    "a gateway's warning": (
        "CAUTION: This email originated from outside of the organization. Do not click links or open attachments"
        f" unless you recognize the sender.\n\nHello,\n\n{QUESTION}\n\nRegards,\nAnna"
    ),
    "picture in the text": f"Hello,\n\n{QUESTION}\n\n{PICTURE}",
    "characters of no width": f"\ufeffHi,\n\u200b\n{QUESTION}\n\u200b\nRegards,\nAnna",
    "spaces that do not break": f"Hi\u00a0Tom,\n\u00a0\n{QUESTION}\n\u00a0\nKind\u00a0regards,\n\u00a0Anna\u00a0Meyer",
    "Spanish Outlook": (
        f"Buenos días,\n\n{QUESTION}\n\nUn saludo,\n\nAna Ruiz\n\nDe: Soporte <h@s.example>\nEnviado el: martes, 3 de"
        " marzo de 2026 9:12\nPara: Ana Ruiz\nAsunto: RE: Tique\n\n¿Algo más?"
    ),
    "form with the mail in a field": f"First name: Anna\nOrder number: 48120\nMessage: {QUESTION}\n\nThanks\nAnna",
    "form with the mail below a field": f"Vorname: Anna\nBestellnummer: 48120\nNachricht:\n\n{QUESTION}",
    "two closings": f"Hi,\n\n{QUESTION}\n\nMany thanks and take care,\nAnna",
    "salutation by a name in small letters": f"Hello seb,\n\n{QUESTION}\n\nCheers\nkev",
    "salutation of many": f"Dear Ms Hilary Tang and the whole support team,\n\n{QUESTION}\n\nThanks\nAnna",
    "closing without a comma": f"Hallo,\n\n{QUESTION}\n\nMit lieben Grüßen\nAnna Meyer",
    "French title in a signature": f"{QUESTION}\n\n--\nAnna\nChef de la logistique\nLigne directe : 03 84 00 01 23",
    "notice about trees": f"Hi,\n\n{QUESTION}\n\nAnna\n\nPlease think of the trees before you print.",
    "HTML with a style and a script": f"<style>p {{color: red}}</style><script>ask('x?')</script><p>{QUESTION}</p>",
}

PLAIN = [
    "where is my card?",
    "Hi, where is my card?",
    "Thanks, but where is my card",
    "  what   about spaces\t? ",
    "How do I close a <div> in HTML?",
    "What does <br> do, and is <br/> the same?",
    "if a < b and b > c, is a < c?",
    "SELECT * FROM a\nWHERE b > 1\n\nWhy does this return no rows?",
    "First line of a question\nsecond line of it",
    "I get this:\n\nError: no route to host\n\nWhat does it mean?",
    "- one\n- two\n\nWhich of them is it?",
    "",
    "\n",
    "Hello\n",
    "Best regards\nAnna",
    "> all of it is quoted\n> and nothing else is there",
]


@pytest.mark.parametrize("name", MAILS)
def test_of_a_mail_the_question_is_left(name: str) -> None:
    assert said_in(MAILS[name]) == QUESTION


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_plain_stays_to_the_byte(text: str) -> None:
    assert said_in(text) == text


@given(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=200))
def test_a_line_without_markup_stays_to_the_byte(text: str) -> None:
    assert said_in(text) == text or is_html(text)


@pytest.mark.parametrize(
    "said",
    [
        "I hope this email finds you well.",
        "Hope you're doing well!",
        "Thanks for your quick reply last time. Sorry to bother you again.",
        "I have a quick question.",
        "Ich hoffe, es geht Ihnen gut.",
        "J'espère que vous allez bien.",
        "Espero que este correo le encuentre bien.",
        "I would be so grateful if someone could advise me on this.",
        "Could anybody please help us with it?",
        "Über eine schnelle Hilfe wäre ich sehr dankbar.",
        "Kann mir da jemand helfen?",
        "Meine Kundennummer ist 48120.",
        "Je serais très reconnaissant de votre aide rapide.",
        "Quelqu'un pourrait-il m'aider ?",
        "Les agradecería mucho una ayuda.",
        "¿Alguien me puede ayudar?",
    ],
)
def test_sentences_that_do_not_say_what_it_is_about_are_left_out(said: str) -> None:
    for mail in (f"Hi Tom,\n\n{said} {QUESTION}\n\nBest regards\nAnna", f"Hello,\n{said}\n\n{QUESTION}"):
        assert said_in(mail) == QUESTION


@pytest.mark.parametrize(
    "said",
    [
        "This is my third email.",
        "I have already spoken to two of your colleagues.",
        "Love your product by the way.",
        "What do you suggest?",
        "Please call me back if that is easier.",
        "(Booking 48120, made on Friday)",
        "Das ist schon meine dritte Mail.",
        "Was raten Sie mir?",
        "Bitte antworten Sie so schnell wie möglich.",
        "C'est mon troisième message.",
        "Que me conseillez-vous ?",
        "J'ai un petit souci.",
        "Este es mi tercer correo.",
        "¿Qué me aconsejan?",
        "Ya lo he hablado con dos compañeros suyos.",
        "This is really annoying.",
        "You can reach me after 5 pm.",
        "Das ist wirklich ärgerlich.",
        "Nach 17 Uhr bin ich erreichbar.",
        "C'est vraiment agaçant.",
        "Que dois-je faire maintenant ?",
        "Es muy molesto.",
        "¿Alguien me lo puede explicar?",
        "I went through the manual.",
        "I could not get through to the hotline.",
        "Ich bin sehr unzufrieden.",
    ],
)
def test_what_is_said_of_the_mail_itself_is_left_out_wherever_it_stands(said: str) -> None:
    for mail in (
        f"Hi Tom,\n\nMy card was declined twice this morning. {said} Can you unblock it?\n\nBest regards\nAnna",
        f"Hi Tom,\n\n{said} {QUESTION}\n\nBest regards\nAnna",
        f"Hi Tom,\n\n{QUESTION} {said}\n\nBest regards\nAnna",
    ):
        assert said_in(mail) == QUESTION


@pytest.mark.parametrize("word", ["9f86d081884c7d65" * 4, "donaudampf" * 7], ids=["fingerprint", "long word"])
def test_a_fingerprint_and_a_long_word_are_no_picture(word: str) -> None:
    asked = f"What is this?\n{word}\nIt stands in a log."
    assert said_in(f"Hello,\n\n{asked}\n\nThanks\nAnna") == asked


@pytest.mark.parametrize(
    "asked",
    [
        "Are you available by phone on Sunday?",
        "Do you have the manual for it?",
        "I need the manual for it.",
        "Can I pick up on Saturday?",
        "Please provide a new product, thanks.",
        "Ist die Hotline am Sonntag erreichbar?",
        "Haben Sie eine Anleitung dafür?",
        "Ich möchte die Anleitung dazu.",
        "Avez-vous la notice ?",
        "¿Tienen el manual?",
        "¿Puedo llamar por teléfono?",
    ],
)
def test_what_is_asked_in_words_of_a_remark_is_kept(asked: str) -> None:
    assert said_in(f"Hello,\n\nMy flat is in Rome. {asked}\n\nThanks\nAnna") == f"My flat is in Rome. {asked}"


def test_numbers_that_a_colon_announces_in_one_line_are_kept() -> None:
    asked = "Please cancel these: order 48120. Order 48121."
    assert said_in(f"Hello,\n\n{asked}\n\nThanks\nAnna") == asked


def test_a_word_below_a_picture_in_the_text_is_kept() -> None:
    picture = PICTURE.split("\n")[0]
    assert said_in(f"Hello,\n\nIt looks so:\n{picture}\nRefund\n\nThanks\nAnna") == "It looks so:\nRefund"


def test_a_long_field_of_a_form_is_kept_to_its_end() -> None:
    said = f"{'My card was declined in that shop again. ' * 20}Why?"
    assert said_in(f"Name: Anna\nEmail: a@x.example\nMessage: {said}\n\nThanks\nAnna") == said


def test_a_form_below_the_header_of_a_forwarded_mail_is_kept() -> None:
    header = "From: Anna <a@x.example>\nTo: Bo\nSubject: Contact form"
    assert said_in(f"FYI\n\n{header}\nMessage: {QUESTION}\n\nThanks\nAnna") == QUESTION


@pytest.mark.parametrize("between", ["\n", "\nHello,\n\n", "\nHello,\n"])
@pytest.mark.parametrize("broken", [False, True], ids=["one line", "three lines"])
def test_what_stands_below_a_warning_of_mail_from_outside_is_kept(between: str, broken: bool) -> None:
    parts = (
        "CAUTION: This email originated from outside of the",
        "organization. Do not click links or open",
        "attachments unless you recognize the sender.",
    )
    warning = ("\n" if broken else " ").join(parts)
    assert said_in(f"{warning}{between}{QUESTION}\n\nThanks\nAnna") == QUESTION


def test_a_question_in_words_of_a_warning_is_kept() -> None:
    asked = "I got mail of an external sender. It says do not click.\n\nWhat now?"
    assert said_in(f"{asked}\n\nThanks\nAnna") == asked


def test_what_a_field_of_a_form_says_is_kept() -> None:
    assert said_in("Name: Anna\nEmail: a@x.example\nMessage: roaming fee\n\nThanks\nAnna") == "roaming fee"


def test_thanks_above_a_quoted_mail_do_not_pass_it_on() -> None:
    assert said_in(f"Thank you for your help!\n\nBo\n\n{FORWARDED}").startswith("Thank you for your help!")


@pytest.mark.parametrize("said", ["I can't find my phone.", "Nobody delivered it.", "I do not see the refund."])
def test_a_sentence_of_words_that_many_have_is_kept(said: str) -> None:
    assert said_in(f"Hello,\n\n{said} What now?\n\nBest regards\nAnna") == f"{said} What now?"


@pytest.mark.parametrize("space", [" ", "  "], ids=["one space", "two spaces"])
def test_a_number_is_left_out_behind_a_sentence_that_stays(space: str) -> None:
    mail = f"Hello,\n\nMy flat is in Rome.{space}Order no.{space}48120\n{QUESTION}\n\nThanks\nAnna"
    assert said_in(mail) == f"My flat is in Rome.\n{QUESTION}"


def test_numbers_below_the_line_that_announces_them_are_kept_beside_a_sentence() -> None:
    asked = "Please cancel these:\nOrder 48120. I want neither. Order 48121."
    assert said_in(f"Hi,\n\n{asked}\n\nThanks,\nAnna") == asked


@pytest.mark.parametrize("announced", ["Cancel these:", "Bitte stornieren Sie:", "À annuler :", "Hay que anular:"])
def test_a_number_that_a_colon_announces_is_kept(announced: str) -> None:
    asked = f"{announced}\nOrder 48120\nOrder 48121"
    assert said_in(f"Hello,\n\n{asked}\n\nBest regards\nAnna") == asked


@pytest.mark.parametrize("line", ["Customer no. 48120", "Auftrag Nr. 48120", "Référence : 48120", "Pedido n.º 48120"])
def test_a_number_to_look_up_is_left_out(line: str) -> None:
    assert said_in(f"Hello,\n\n{line}\n\n{QUESTION}\n{line}\n\nBest regards\nAnna") == QUESTION


@pytest.mark.parametrize(
    "question",
    [
        "I have a quick question about the fees of my account",
        "Thanks for your reply, but the refund has not come yet.",
        "I am a long time customer of yours and my card was stolen.",
        "Sorry to bother you, where is my card?",
        "Hope you are well, my transfer failed.",
        "Please help me with the roaming.",
        "When do I hear back?",
        "How can I get help?",
        "I hope it is not lost.",
        "Cancel order 48120",
        "I need invoice 48120",
        "Ich hoffe, es ist nicht verloren.",
        "Wann bekomme ich Antwort?",
        "Stornierung Auftrag 48120",
        "J'espère qu'il n'est pas perdu.",
        "Quand aurai-je une réponse ?",
        "Annulation commande 48120",
        "Espero que no esté perdido.",
        "¿Cuándo me responden?",
        "Anulación pedido 48120",
    ],
)
def test_a_sentence_that_goes_on_to_say_something_is_kept(question: str) -> None:
    assert said_in(f"Hello,\n\n{question}\n\nBest regards\nAnna") == question


@pytest.mark.parametrize(
    "question",
    [
        "I am at a loss.\nMy phone is missing.",
        "It is about a refund.\nPlease let me know when the money of my order comes.",
        "I have two cards.\nThank you for sending the first one to my old address.",
        "Please block these:\n\nVisa,\nmy second card",
    ],
)
def test_a_last_line_that_says_something_is_kept(question: str) -> None:
    assert said_in(f"Hello,\n\n{question}\n\nBest regards\nAnna") == question


@pytest.mark.parametrize(
    "question",
    [
        "I saw your blue sofa. Please let me know the price.",
        "My parcel arrived broken. I would appreciate a refund.",
        "I am writing because I need a refund. I paid by card.",
        "I have been a customer, refund me. I paid by card.",
        "I moved house. Please help me close it.",
        "Ma commande est en double. Merci d'annuler.",
        "Ma commande est en double.\nMerci d'annuler",
        "J'ai commandé deux fois. Merci de rembourser.",
        "Tengo dos cargos. Gracias por cancelar.",
        "Die Bestellung ist doppelt. Danke für Stornierung.",
        "Die Bestellung ist doppelt.\n\nDanke Stornierung",
        "La commande est en double.\n\nMerci Annulation",
        "El pedido está repetido.\n\nGracias Anulación",
        "The order is double.\n\nThanks Cancellation",
        "I have an old contract.\n\nPlease cancel it,\nAnna",
        "I moved to Spain last week.\n\nPlease close my account,\nAnna",
        "I ordered on Monday.\n\nParcel arrived broken,\nAnna",
        "I ordered on Monday.\nMy parcel never came.\nREFUND ME NOW",
        "I lost it, please send it again.\nInvoice",
        "I have an old contract.\nThanks, cancel it.",
        "I have an old contract.\nDanke, bitte kündigen",
        "I have two cards.\nPlease cancel order 1234567.",
        "I have two cards.\nI never got order 1234567.",
        "I ordered a book.\n\nSent from my account to Anna by mistake.",
        "I ordered a book.\n\nPlease send me an invoice with VAT.",
        "I ordered a book.\n\nI was charged VAT in error.",
        "I wrote on 3 May:\nMy card is lost.\nNobody answered.",
        "I replied to the original message:\nMy card is lost.\nNobody answered.",
    ],
)
def test_a_request_in_words_of_a_frame_is_kept(question: str) -> None:
    left = said_in(f"Hello,\n\n{question}\n\nBest regards,\nAnna")
    assert left.removesuffix("\n\nBest regards,\nAnna").removeprefix("Hello,\n\n") == question


def test_what_stands_above_an_address_is_kept() -> None:
    said = "I was in Rome.\nMy card is lost"
    assert said_in(f"Hello,\n\n{said}\nanna@x.example") == said


@pytest.mark.parametrize(
    "first", ["Hi, cancel my order please.", "Hello, my card was stolen.", "Hi my card was stolen"]
)
def test_a_request_beside_the_greeting_is_kept(first: str) -> None:
    said = re.sub(r"^(Hi|Hello), ", "", first)
    assert said_in(f"{first}\nIt was in Rome last night.\n\nBest regards,\nAnna").startswith(said)


def test_a_request_in_the_form_of_a_salutation_is_kept() -> None:
    said = "Hello card stolen,\n\nWhat now?"
    assert said_in(f"{said}\n\nBest regards,\nAnna") == said


@pytest.mark.parametrize(
    "below",
    [
        "PS: the order is 12 days old",
        "We would like a refund",
        "Please cancel it.",
        "The order never arrived.",
        "Bitte stornieren",
        "Merci d'annuler ma commande",
        "Quiero cancelar",
        "Order 12 lost",
        "Parcel broken",
        "Auftrag 12 verloren",
        "Gerät defekt",
        "Commande 12 perdue",
        "Pedido 12 perdido",
    ],
)
def test_a_request_below_the_closing_is_kept(below: str) -> None:
    assert said_in(f"Hello,\n\nI have an old order.\n\nThanks,\nAnna\n\n{below}").endswith(f"\n\n{below}")


@pytest.mark.parametrize("asked", ["Is my order 4711 from yesterday?", "Ist meine Bestellung 4711 vom Montag?"])
def test_a_number_that_is_asked_about_is_kept(asked: str) -> None:
    assert said_in(f"Hello,\n\n{asked}\nI don't see it.\n\nThanks,\nAnna") == f"{asked}\nI don't see it."


def test_what_stands_behind_many_courtesies_is_kept() -> None:
    text = f"{'Thank you for your help and support. ' * 20}My card is lost."
    assert said_in(f"Hello,\n\n{text}\n\nThanks,\nAnna") == "My card is lost."


@pytest.mark.parametrize("above", ["Hello,", "I have a question.", "Guten Tag,\n\n-----"], ids=["en", "said", "de"])
@pytest.mark.parametrize("between", ["\n", "\n\n"], ids=["lines", "paragraphs"])
@pytest.mark.parametrize(
    "names", [("Name", "Email", "Phone"), ("Name", "E-Mail", "Telefon")], ids=["English", "German"]
)
def test_a_question_below_the_fields_of_a_form_is_kept(above: str, between: str, names: tuple[str, ...]) -> None:
    form = between.join(f"{name}: Anna" for name in names)
    assert said_in(f"{above}\n\n{form}\n\nMy card is lost.").endswith("My card is lost.")


def test_the_greeting_below_a_subject_is_left_out() -> None:
    mail = "Subject: My trip to Spain\n\nHello,\n\nPlease help me activate roaming.\n\nAnna"
    assert said_in(mail) == "My trip to Spain\nPlease help me activate roaming."


def test_a_field_that_says_something_is_no_header() -> None:
    mail = "Phone: the screen is broken since Monday\n\nWhat do I do?\n\nBest regards,\nAnna"
    assert said_in(mail) == "Phone: the screen is broken since Monday\n\nWhat do I do?"


# Of each language, what may follow any of its phrases.
REQUESTS = {
    "en": ["the price", "a refund", "close it", "to cancel", "and block it", "lost", "with invoice 12"],
    "de": ["den Preis", "für Stornierung", "zu kündigen", "um Rückruf", "defekt", "mit Rechnung 12"],
    "fr": ["d'annuler", "de rembourser", "le prix", "pour annuler", "cassé", "avec facture 12"],
    "es": ["por cancelar", "el precio", "de anular", "para devolver", "roto", "con factura 12"],
}
LANGUAGES = {
    language: tomllib.loads((files("questream.preparing") / "phrases" / f"{language}.toml").read_text("utf-8"))
    for language in REQUESTS
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["greetings", "courtesies", "remarks", "closings", "sent_from", "forwarded"])
def test_a_request_behind_any_phrase_is_kept(language: str, kind: str) -> None:
    asked = [
        (request, f"{said} {request}")
        for phrase, request in product(LANGUAGES[language][kind], REQUESTS[language])
        for said in (phrase, f"{phrase.capitalize()},")
    ]
    frames = [
        "{}\nThe order is old.\n\nBest regards,\nAnna",
        "Hello,\n\nThe order is old. {}.\n\nBest regards,\nAnna",
        "Hello,\n\nThe order is old.\n\n{},\nAnna",
    ]
    lost = [said for (request, said), mail in product(asked, frames) if request not in said_in(mail.format(said))]
    assert lost == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_request_with_a_word_of_a_notice_is_kept(language: str) -> None:
    own = {"en": "Please look at my", "de": "Bitte prüfen Sie", "fr": "Je demande", "es": "Quiero"}[language]
    for word in LANGUAGES[language]["legal"]:
        assert word in said_in(f"Hello,\n\nThe order is old.\n\n{own} {word}.\n\nBest regards,\nAnna")


def test_the_longest_phrase_is_found_that_a_line_begins_with() -> None:
    those = Beginnings(["best", "best of all regards", "kind regards"])
    said = ["best", "best of all regards to you", "best of all", "kind", "regards", ""]
    assert [those.begin(line.split()) for line in said] == [1, 4, 1, 0, 0, 0]


def test_phrases_are_found_anywhere_among_whole_words() -> None:
    those = Sayings(["in error", "error", "delete this"])
    words = ["sent", "in", "error", "please", "delete", "this"]
    assert those.among(words) == {"in error", "delete this"}
    assert those.left_out_of(words) == ["sent", "please"]
    assert those.among(["errors", "delete", "in"]) == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_asks_is_of_two_words_at_most(language: str) -> None:
    assert all(len(phrase.split()) <= 2 for phrase in LANGUAGES[language]["asking"])


def test_a_mail_that_only_says_hello_is_kept() -> None:
    assert said_in("Hello,\n\nI hope you are well.\n\nBest regards\nAnna") == "I hope you are well."


@pytest.mark.parametrize("said", ["Thank you for your help!", "Danke!", "Order 4711", "I hope this finds you well."])
@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_of_a_mail_that_only_thanks_or_gives_a_number_more_than_the_name_is_kept(said: str, between: str) -> None:
    assert said_in(f"Hello,\n{said}{between}Tim").startswith(said)


def test_the_subject_is_kept_where_it_says_something() -> None:
    mail = (
        "From: Anna\nTo: Support\nSubject: Re: [#4711] Refund for a cancelled order\nDate: 3 March\n\nIt has not come."
    )
    assert said_in(mail) == "Refund for a cancelled order\nIt has not come."


def test_a_postscript_that_asks_is_kept() -> None:
    mail = f"Hi,\n\nI have paid.\n\nThanks,\nAnna\n\nPS: {QUESTION}"
    assert said_in(mail) == f"I have paid.\n\nPS: {QUESTION}"


def test_a_thank_you_that_goes_on_is_no_closing() -> None:
    mail = "Thanks for the refund of my first order.\nThe second one never came.\nWhat now?"
    assert said_in(mail) == mail


WORDS = st.sampled_from(
    [
        "Hi,",
        "Thanks",
        "-- ",
        "> a",
        "",
        "On 3 May Anna wrote:",
        "From: a",
        "Subject: b c d",
        "Is it there?",
        "<br>",
        "----------",
    ]
)


@given(st.lists(st.one_of(WORDS, st.text(max_size=40)), max_size=30).map("\n".join))
def test_something_is_left_of_every_text(text: str) -> None:
    left = said_in(text)
    assert bool(left.strip()) == bool(text.strip()) or is_html(text)
    assert len(left) <= len(text)


@pytest.mark.parametrize(
    "below", ["Sent from my iPhone \u0130zmir", "Best regards,\n\u0130pek \u0130nan", "Thanks \u0130pek"]
)
def test_a_name_that_has_more_characters_in_lower_case_is_one(below: str) -> None:
    assert said_in(f"Where is my card?\n\n{below}") == "Where is my card?"


@given(st.text(st.sampled_from("a\u0130I\u0307'.-_ 1\u2019\u00df\ufb01\u03a3")))
def test_each_word_in_lower_case_is_one_that_is_written(text: str) -> None:
    line = Line(text)
    assert [word.casefold() for word in line.words] == [word.replace("\u0130", "I").casefold() for word in line.written]


@pytest.mark.parametrize(
    "text",
    [
        "<div>" * 200_000,
        "<" * 1_000_000 + "\n",
        "<p>" + "<b><i>" * 150_000,
        "-----Original Message-----\n" * 40_000,
        "On 1 x:\n" * 120_000,
        "From: a\n" * 120_000,
        "\n" * 1_000_000,
        "a@" * 500_000 + "\n" + "1 " * 500_000,
        "Subject: " + "re: " * 250_000 + "\nx",
        "Order 123. " * 90_000 + "\nWhere is my card?",
        "Where is my card?\nx " + "Thanks. " * 120_000,
        "Where is" + " " * 900_000 + "my card?\nx",
        "Where is it? (Mine)" + " " * 900_000 + "x\nx",
        "Message: " + "re: " * 250_000 + "\nx",
        "Hi,\n\nIt is lost. " + "?" * 300_000 + " ?" * 300_000 + " x\n\nAnna",
        "Hi,\n\n" + "Is it? " * 150_000 + "No.\n\nAnna",
        "?\n\t \t\n" * 200_000,
    ],
    ids=range(17),
)
def test_a_hostile_mail_takes_no_more_time_than_to_read_it(text: str) -> None:
    """In processor time: the square of a million would be hours."""
    began = time.process_time()
    about_in(about_first(said_in(text)))
    assert time.process_time() - began < 3
