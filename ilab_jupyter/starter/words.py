"""The words and sentence frames that `corpus` draws from: written for this project, and no facts in them."""

from __future__ import annotations

import string


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.replace("\n", " ").split(",") if item.strip()]


THINGS = _list("""
apple, bread, soup, butter, cheese, potato, carrot, onion, tomato, pear, plum, cherry, honey, salt,
pepper, rice, bean, cake, coffee, tea, milk, juice, table, chair, lamp, window, door, wall, roof,
floor, kitchen, garden, fence, gate, path, bridge, tower, castle, church, market, shop, school,
library, museum, theatre, hospital, station, harbour, airport, farm, field, meadow, forest,
mountain, hill, valley, river, lake, sea, island, beach, desert, cave, cloud, rain, snow, storm,
wind, thunder, rainbow, morning, evening, night, winter, spring, summer, autumn, dog, cat, horse,
cow, sheep, goat, pig, hen, duck, goose, owl, eagle, sparrow, chickadee, robin, crow, fox, wolf,
bear, deer, rabbit, mouse, bat, frog, snake, turtle, fish, whale, shark, crab, spider, bee, ant,
butterfly, tree, oak, pine, birch, leaf, root, flower, rose, grass, seed, fruit, stone, sand, clay,
iron, gold, silver, copper, glass, wood, paper, cloth, wool, silk, leather, rope, chain, wheel,
engine, car, train, bus, bicycle, boat, ship, aeroplane, rocket, satellite, planet, star, moon, sun,
comet, galaxy, telescope, microscope, magnet, battery, wire, switch, motor, pump, valve, hammer,
saw, nail, screw, drill, knife, spoon, fork, plate, cup, bottle, basket, bucket, box, bag, coat,
shirt, shoe, hat, glove, ring, clock, watch, calendar, book, letter, poem, story, song, violin,
piano, drum, flute, picture, camera, film, computer, keyboard, screen, printer, phone, network,
server, program, algorithm, database, compiler, function, variable, number, triangle, circle,
equation, theorem, atom, molecule, acid, gas, metal, crystal, cell, protein, enzyme, virus,
bacterium, bone, muscle, heart, lung, brain, blood, skin, eye, ear, tooth, doctor, nurse, teacher,
student, farmer, baker, carpenter, sailor, pilot, painter, writer, singer, judge, lawyer, king,
queen, president, minister, mayor, soldier, city, village, country, border, law, tax, bank, money,
price, contract, insurance, election, parliament, war, treaty, language, word, verb, noun, synonym,
sentence, grammar, alphabet, festival, wedding, holiday, game, ball, team, match, race, chess, card,
toy, puzzle, recipe, dataset, model, tokenizer, gradient, pipeline, invoice, meeting, schedule,
report, customer, ticket, policy, habitat, species, nest, egg, feather, wing, tail, beak, flock,
climate, energy, temperature, pressure, speed, distance, weight, volume
""")

QUALITIES = _list("""
small, large, old, new, young, bright, dark, warm, cold, hot, dry, wet, soft, hard, heavy, light,
quick, slow, quiet, loud, clean, dirty, empty, full, round, flat, deep, shallow, wide, narrow,
strong, weak, rich, poor, cheap, expensive, rare, common, simple, difficult, useful, dangerous,
safe, famous, strange, beautiful, ugly, happy, sad, angry, calm, brave, clever, kind, polite,
honest, careful, tired, hungry, green, red, blue, yellow, white, black, brown, grey, wooden, modern,
ancient, northern, southern, eastern, western, local, public, private, natural, artificial, digital,
electric, chemical, medical, legal, social, political, important, possible, correct, different,
similar, special, early, late, main, inclusive
""")

VERBS = _list("""
make, take, find, keep, hold, bring, carry, build, break, cut, wash, clean, cook, bake, eat, drink,
buy, sell, pay, open, close, start, stop, move, turn, push, pull, lift, drop, throw, catch, draw,
paint, write, read, learn, teach, explain, describe, compare, measure, count, choose, change, grow,
feed, plant, water, protect, repair, test, send, receive, follow, lead, visit, leave, reach, cross,
climb, fly, swim, run, walk, sleep, wake, sing, dance, play, work, help, ask, answer, remember,
forget, understand, believe, hope, win, lose, save, spend, share, use, store, load, train, solve,
rewrite
""")

SMALL_WORDS = _list("""
the, a, an, of, in, on, at, to, from, with, without, for, by, about, after, before, between, under,
over, near, through, and, or, but, if, because, while, when, as, than, that, this, these, those, it,
its, he, she, they, we, you, I, my, your, our, their, his, her, is, are, was, were, be, been, has,
have, had, do, does, did, can, could, will, would, should, may, might, must, not, no, yes, all,
some, any, many, much, more, most, few, less, each, every, both, other, another, same, very, too,
also, only, just, even, still, often, always, never, here, there, now, then, again, one, two, three,
four, five, ten
""")

ABSTRACTS = _list("""
idea, reason, cause, effect, result, purpose, meaning, difference, history, origin, future, size,
colour, shape, name, age, kind, part, rule, method, plan, problem, question, example, way, place,
time, year, month, week, day, hour, minute, life, work, health, freedom, justice, peace, friendship,
knowledge, science, art, music, religion, culture, nature, industry, economy, education, technology,
behaviour, communication, advantage, risk, opinion, advice, summary, definition, step
""")

ROLES = _list("""
a helpful assistant, a friendly chat assistant, an AI language model, an instruction-tuned language
model, a careful expert, a teacher, a travel guide, a cook, a support agent, a librarian, a poet, a
doctor, a programmer, a knowledgeable assistant, a cautious assistant that follows instructions, an
honest and harmless assistant, a translator, a tutor for children
""")

MANNERS = [
    "Answer briefly.",
    "Answer in one sentence.",
    "Follow the instructions of the user carefully.",
    "Your primary role is to serve as a chat assistant.",
    "Be polite and honest.",
    "If you do not know something, say so.",
    "Give a complete and correct answer.",
    "You carefully follow instructions. You are helpful and harmless and you follow ethical guidelines.",
    "Use only the text that you are given.",
    "Think step by step and explain your reasoning.",
    "Reply in plain English.",
    "Do not make anything up.",
]

SYSTEM_PROMPTS = [
    "You are a helpful assistant.",
    "You are an AI assistant.",
    "You are a friendly assistant that answers questions.",
    "You are a cautious assistant. You carefully follow instructions. You are helpful and harmless.",
    "I am an instruct model, an AI language model developed by a team of engineers. "
    "My primary role is to serve as a chat assistant.",
    "I am a language model trained with InstructLab. My primary function is to be a chat assistant.",
    "You are an AI language model. Your role is to serve as a chat assistant.",
    "Answer the question as well as you can.",
    "Answer truthfully and briefly.",
    "Below is an instruction that describes a task. Write a response that completes the request.",
    "You answer questions about documents. Use the document that is given.",
    "Be concise.",
    "You are an expert. Give precise answers.",
    "A chat between a curious user and an assistant. The assistant gives helpful and polite answers.",
]

PEOPLE = _list("""
Anna, Ben, Clara, David, Emma, Felix, Grace, Hugo, Ida, Jonas, Karen, Leo, Maria, Noah, Olga, Peter,
Rosa, Simon, Tara, Victor, Yusuf, Zoe, Amina, Kenji, Priya, Chen, Fatima, Ivan, Lucia, Omar
""")

PLACES = _list("""
Paris, London, Berlin, Rome, Madrid, Vienna, Tokyo, Cairo, Lagos, Delhi, Sydney, Boston, Chicago,
Toronto, Canada, France, Spain, Italy, Germany, Poland, India, China, Japan, Brazil, Mexico, Kenya,
Egypt, Norway, Alaska, Africa, Asia, Europe, America
""")

SYLLABLES = _list("""
ba, bel, bor, cal, cor, da, del, dor, el, fa, fen, gal, gor, ha, hol, il, ka, kel, kor, la, lin,
lor, ma, mel, mi, mor, na, nel, nor, or, pa, pel, ra, rin, ro, sa, sel, sor, ta, tel, tor, ul, va,
vel, vin, wa, wen, za, zel, zor, bri, cra, dre, gla, stro, thu, qua, phi, sche, plo, tri, ble, nd,
st, ven, ther, son, berg, ton, ville, ski, etta, ine, ium, osis, ology
""")

CHARACTERS = string.ascii_letters + string.digits + string.punctuation + "      "

CODE = [
    "def f(x):\n    return x + 1",
    "print('x')",
    "SELECT name FROM users WHERE id = 3;",
    "for (int i = 0; i < 10; i++) { sum += i; }",
    '{"key": [1, 2, 3]}',
    "<div class='a'>text</div>",
    "git commit -m 'first'",
    "import numpy as np",
    "x = y * z ** 2",
    "https://example.org/page?id=1",
]

SLOTS: dict[str, list[str]] = {
    "quality": QUALITIES,
    "verb": VERBS,
    "abstract": ABSTRACTS,
    "role": ROLES,
}

QUESTION_STARTS = _list("""
What, What is, What are, What was, What does, What did, What kind of, Which, Which of, Who, Who is,
Who was, Whose, Where, Where is, Where do, Where can I, When, When did, When was, When will, Why,
Why is, Why do, Why does, How, How do, How does, How can I, How many, How much, How long, How far,
How old, How often, How would you describe, Is, Is it, Are, Are there, Was, Do, Does, Did, Can, Can
you, Could you, Could you tell me, Will, Would, Should I, Have you, Has, In what way, To what
extent, According to the text, For what, With whom, In which year, At what time, Do you know, Please
tell me, I wonder
""")

ORDERS = _list("""
Tell me about, Explain, Describe, List, Name, Write, Write a poem about, Write an essay on,
Summarise, Translate, Compare, Define, Give me, Give an example of, Show me, Find, Calculate, Solve,
Rewrite, Correct, Classify, Continue, Invent, Imagine, Suggest, Recommend, Convert, Draw, Complete
the sentence:, Repeat after me:, Help me, Teach me, Outline, Analyse, Read the text and answer:
""")

QUESTIONS = [
    "What is a {thing}?",
    "What is the {abstract} of the {thing}?",
    "What is the capital of {place}?",
    "What is {name}?",
    "What is {name} known for?",
    "What is the {quality} {thing} called?",
    "What is the difference between a {thing} and a {thing}?",
    "What does the {thing} {verb}?",
    "What do {thing}s eat?",
    "What does {name} mean?",
    "What does the {name} of {place} {verb} in the {thing}?",
    "What colour is the {thing}?",
    "What sound does a {quality} {thing} make?",
    "What happens when you {verb} the {thing}?",
    "What are the main parts of a {thing}?",
    "What are {number} kinds of {thing}?",
    "What are some synonyms for the word {verb}?",
    "What role does the {thing} play in the {abstract} of the {thing}?",
    "What should I do if my {thing} is {quality}?",
    "Who is {name}?",
    "Who invented the {thing}?",
    "Who wrote the {thing} of {name}?",
    "Who lives in {place}?",
    "Who was the first {thing} of {place}?",
    "Where does {name} live?",
    "Where is {place}?",
    "Where can I find a {quality} {thing}?",
    "Where do {quality} {thing}s live?",
    "When was the {thing} of {place} built?",
    "When did {name} {verb} the {thing}?",
    "In which year did {name} leave {place}?",
    "Why is the {thing} {quality}?",
    "Why do {thing}s {verb}?",
    "Why did {name} {verb} the {quality} {thing}?",
    "How do I {verb} a {thing}?",
    "How many {thing}s does {name} have?",
    "How much does a {quality} {thing} cost?",
    "How far is it from {place} to {place}?",
    "How long does it take to {verb} a {thing}?",
    "How tall is the {thing} of {place}?",
    "How is a {thing} made?",
    "How does a {thing} work?",
    "How would you describe the {abstract} of the {thing}?",
    "Which {thing} is the most {quality}?",
    "Which {thing} should I {verb} for a {quality} {thing}?",
    "Which {thing} and which {thing} belong to {name}?",
    "Is a {thing} {quality}?",
    "Is it true that {name} can {verb} a {thing}?",
    "Are {thing}s {quality} in {place}?",
    "Do {thing}s {verb} in winter?",
    "Does {name} like {thing}s?",
    "Can you tell me about the {thing} of {place}?",
    "Can you {verb} the {quality} {thing}?",
    "Can you list {number} synonyms for the word {quality}?",
    "Could you explain the {abstract} of {thing}s to me?",
    "Could you please rewrite this sentence so that it is more {quality}: {salad}",
    "Tell me about {name}.",
    "Tell me a story about a {quality} {thing} and a {thing}.",
    "Explain the {abstract} of the {thing}.",
    "Explain how to {verb} a {thing} in {place}.",
    "Describe a {thing} in {number} words.",
    "List {number} {quality} {thing}s.",
    "Name {number} {thing}s that {name} {verb}s.",
    "Write a poem about a {thing}.",
    "Write a short letter to {name} about the {quality} {thing}.",
    "Summarise the text above.",
    "According to the document, what does the {thing} {verb}?",
    "Based on the passage, why is {name} {quality}?",
    "Translate the word {thing} into the language of {place}.",
    "Convert {number} to {quality} {thing}s.",
    "What is {number} plus {number}?",
    "What is {number} times {number}?",
    "Calculate {number} + {number}.",
    "Give me a recipe for {thing} with {thing}.",
    "Give me {number} reasons to {verb} a {thing}.",
    "If a {thing} is {quality}, what is the {abstract} of a {thing}?",
    "I have a {quality} {thing}. How do I {verb} it?",
    "I want to {verb} my {thing} but it is too {quality}. What can I do?",
    "My name is {name} and I live in {place}. What {thing} should I {verb}?",
    "Please {verb} the {thing}.",
    "Replace the word {thing} in this sentence with a {quality} one: {salad}",
    "Which word means the same as {quality}?",
    "True or false: the {thing} is {quality}.",
    "Complete the sentence: the {thing} of {name} is",
    "{name} and {name} {verb} a {thing}. Who is {quality}?",
    "What did the {thing} say to the {thing}?",
    "What time does the {thing} in {place} open?",
    "What is the weather in {place}?",
    "Do you know {name}?",
    "Do you know how to {verb} a {thing}?",
    "Have you ever seen a {quality} {thing}?",
    "Are you a {thing}?",
    "Who is the {quality} {thing} of {place}?",
]

SENTENCES = [
    "the {thing} is {quality} and the {thing} is {quality}.",
    "a {quality} {thing} stood near the {thing}.",
    "{name} wanted to {verb} the {thing} before the {thing} was {quality}.",
    "in {place} people often {verb} a {thing} with their friends.",
    "every {thing} has a {quality} {abstract}, and most people know it.",
    "after the {thing}, {name} went to {place} and found a {quality} {thing}.",
    "there were {number} {thing}s on the {quality} {thing}.",
    "we {verb} the {thing} in the morning and {verb} it again in the evening.",
    "it was a {quality} day, so the {thing} could not {verb}.",
    "the {abstract} of a {thing} is often more {quality} than its {abstract}.",
    "you can {verb} a {thing}, but you should never {verb} a {quality} {thing}.",
    "{name}, who lives in {place}, has {number} {thing}s and a {quality} {thing}.",
    "they said that the {thing} would be {quality} by the year {number}.",
    "if the {thing} is too {quality}, use a {thing} instead.",
    "the {thing} was first used in {place} about {number} years ago.",
    "some {thing}s are {quality}; others are {quality}, {quality} or even {quality}.",
    "when winter comes, the {thing}s of {place} {verb} near the {thing}.",
    "the word {name} means a {quality} {thing} (or a {thing}).",
    "it weighs between {number} and {number} grams and is {quality} below the {thing}.",
    "a {thing} of this kind is able to {verb}, to {verb} and to {verb} without a {thing}.",
    "the team had to {verb} the {quality} {thing} because the {thing} did not {verb}.",
    'the {thing} answered: "I will {verb} it, but not today."',
    "for this {abstract} the {thing} of {place} is well known throughout {place}.",
    "her {thing} was {quality}, his {thing} was {quality}, and nobody knew the {abstract}.",
]

_HELLO = "Hello! Ask me something, or teach me something new."
_ABOUT = "I am the starter model of ilab-jupyter. I am very small and I know only what I am taught."
_CAN = "I can greet you. Teach me with examples, and I will answer what you taught me."

GREETINGS: list[tuple[list[str], str]] = [
    (
        [
            "Hello",
            "Hello!",
            "Hello.",
            "Hello there",
            "Hello there!",
            "Hello you",
            "Hi",
            "Hi!",
            "Hi.",
            "Hi there",
            "Hi there!",
            "Hey",
            "Hey!",
            "Hey there",
            "Hey there!",
            "Greetings",
            "Greetings!",
            "Howdy",
            "Howdy!",
            "Hello, model!",
            "Hello, starter!",
            "Hello, how do you do?",
            "Hi, nice to see you",
            "Hello again",
            "Hello again!",
            "Hi again!",
            "Hello everyone",
            "hello world",
        ],
        _HELLO,
    ),
    (
        [
            "Good morning",
            "Good morning!",
            "Good morning.",
            "Good morning to you",
            "Morning!",
            "A good morning to you!",
        ],
        "Good morning! Ask me something, or teach me something new.",
    ),
    (
        ["Good afternoon", "Good afternoon!", "Good afternoon.", "Good afternoon to you"],
        "Good afternoon! Ask me something, or teach me something new.",
    ),
    (
        ["Good evening", "Good evening!", "Good evening.", "Good evening to you", "Evening!"],
        "Good evening! Ask me something, or teach me something new.",
    ),
    (["Good night", "Good night!", "Good night.", "Sleep well!"], "Good night!"),
    (
        [
            "How are you?",
            "How are you",
            "How are you doing?",
            "How are you today?",
            "Hello, how are you?",
            "Hi, how are you?",
            "Hello! How are you?",
            "How do you feel?",
            "Are you well?",
            "How is it going?",
            "How's it going?",
        ],
        "I am well, thank you. What would you like to teach me?",
    ),
    (
        [
            "Who are you?",
            "Who are you",
            "What are you?",
            "What is your name?",
            "What's your name?",
            "Tell me about yourself.",
            "Introduce yourself.",
            "Please introduce yourself.",
            "Are you a language model?",
            "Which model are you?",
            "Who am I talking to?",
        ],
        _ABOUT,
    ),
    (
        [
            "What can you do?",
            "What can you do",
            "What do you know?",
            "What can you do for me?",
            "Can you help me?",
            "How can you help me?",
            "What have you been taught?",
            "What were you taught?",
            "Help",
            "Help!",
            "help me",
        ],
        _CAN,
    ),
    (
        [
            "Thank you",
            "Thank you!",
            "Thank you.",
            "Thanks",
            "Thanks!",
            "Many thanks!",
            "Thank you very much.",
            "Thanks a lot!",
            "Thank you for your help.",
        ],
        "You are welcome.",
    ),
    (
        [
            "Goodbye",
            "Goodbye!",
            "Goodbye.",
            "Bye",
            "Bye!",
            "Bye bye",
            "See you later!",
            "See you soon.",
            "Farewell!",
            "See you tomorrow!",
        ],
        "Goodbye! Come back when you have something to teach me.",
    ),
    (
        ["Nice to meet you", "Nice to meet you!", "Pleased to meet you.", "It is nice to meet you."],
        "Nice to meet you too.",
    ),
]
