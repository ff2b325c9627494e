"""Who the demo company is: its sources, campaigns, people, customers, prices and words.

A maker of windows and balcony glazing that sells to households and builders, and to dealers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Rhythm = Literal["office", "web"]


@dataclass(frozen=True)
class Source:
    """A source of leads.

    Attributes:
        code: `SOURCE_ID`, None for leads without a source.
        share: share of the leads (all sources add up to 1).
        rhythm: hours in which its leads come.
        quality: chance that a lead becomes quality.
        win: factor of the chance that a deal of such a lead is won.
        ticket: factor of the deal's amount.
        opening: how the title of a lead begins.
    """

    code: str | None
    name: str
    share: float
    rhythm: Rhythm
    quality: float
    win: float
    ticket: float
    opening: str


SOURCES = (
    Source("WEB", "Сайт", 0.235, "web", 0.20, 1.0, 1.0, "Заявка с сайта"),
    Source("CALL", "Звонок", 0.17, "office", 0.27, 1.1, 1.0, "Входящий звонок"),
    Source("UC_DIRECT", "Яндекс Директ", 0.20, "web", 0.15, 0.8, 0.9, "Заявка из Директа"),
    Source("RECOMMENDATION", "Рекомендация", 0.05, "office", 0.46, 1.7, 1.4, "По рекомендации"),
    Source("UC_AVITO", "Avito", 0.13, "web", 0.08, 0.6, 0.6, "Сообщение с Avito"),
    Source("TRADE_SHOW", "Выставка", 0.035, "office", 0.24, 1.2, 2.2, "Выставка"),
    Source("UC_VK", "ВКонтакте", 0.08, "web", 0.07, 0.5, 0.7, "Заявка ВКонтакте"),
    Source("EMAIL", "E-mail", 0.035, "office", 0.18, 0.9, 1.3, "Письмо"),
    Source("PARTNER", "Партнёр", 0.025, "office", 0.35, 1.3, 2.5, "От партнёра"),
    Source(None, "", 0.04, "office", 0.12, 0.8, 1.0, "Лид"),
)
REPEAT_SOURCE = "REPEAT_SALE"
# In the reference data, although no lead comes from it now.
IDLE_SOURCE = ("UC_RADIO", "Радио")
# Named by a few leads, no longer in the reference data.
DELETED_SOURCE = "UC_FLYERS"


@dataclass(frozen=True)
class Campaign:
    """UTM labels of an advertising campaign of one source, its share there and its quality."""

    source: str
    share: float
    quality: float
    utm_source: str
    utm_medium: str
    utm_campaign: str
    contents: tuple[str, ...]
    terms: tuple[str, ...] = ()


_BANNERS = ("banner_1", "banner_2", "video_15s", "karusel")
_BALCONY_TERMS = ("остекление балкона", "балкон под ключ", "тёплое остекление лоджии")
_WINDOW_TERMS = ("пластиковые окна цена", "окна от производителя", "заказать окна", "окна рехау")

CAMPAIGNS = (
    Campaign(
        "UC_DIRECT",
        0.30,
        1.1,
        "yandex",
        "cpc",
        "poisk_okna_msk",
        ("ad_1", "ad_2", "ad_3"),
        _WINDOW_TERMS,
    ),
    Campaign(
        "UC_DIRECT", 0.22, 1.3, "yandex", "cpc", "poisk_balkony", ("ad_1", "ad_4"), _BALCONY_TERMS
    ),
    Campaign("UC_DIRECT", 0.25, 0.6, "yandex", "cpc", "rsya_skidki", _BANNERS),
    Campaign("UC_DIRECT", 0.10, 1.6, "yandex", "cpc", "brand", ("ad_5",), ("тёплый дом окна",)),
    Campaign("UC_DIRECT", 0.10, 0.8, "yandex", "retargeting", "retarget_30d", _BANNERS),
    Campaign("UC_VK", 0.45, 0.9, "vk", "cpc", "vk_novosely", _BANNERS),
    Campaign("UC_VK", 0.35, 1.2, "vk", "social", "vk_post_akciya", ("post_1", "post_2")),
    Campaign("WEB", 0.18, 1.1, "google", "organic", "(not set)", ()),
    Campaign("WEB", 0.12, 1.2, "2gis", "maps", "kartochka", ("zvonok", "sait")),
    Campaign("WEB", 0.08, 0.9, "blog", "referral", "statya_kak_vybrat_okna", ()),
    Campaign("EMAIL", 0.55, 1.1, "newsletter", "email", "rassylka_vesna", ("knopka", "shapka")),
    Campaign("EMAIL", 0.20, 1.3, "newsletter", "email", "reaktivaciya", ("knopka",)),
    Campaign("UC_AVITO", 0.60, 1.0, "avito", "cpa", "avito_vygrodki", ("obyavlenie_1",)),
)

PRODUCTS = (
    "остекление балкона",
    "пластиковые окна",
    "входная группа",
    "тёплая лоджия",
    "окна в дом",
    "замена стеклопакета",
    "витраж",
    "перегородки",
    "ремонт окон",
    "москитные сетки",
)


@dataclass(frozen=True)
class Employee:
    """An employee: portal user, departments, share of the leads and of the deals, strength.

    Attributes:
        strength: factor of the chances of quality and of a sale.
        dismissed: no longer active; still holds old items.
    """

    user_id: int
    last_name: str
    name: str
    second_name: str
    position: str
    departments: tuple[int, ...]
    leads: float = 0.0
    deals: float = 0.0
    strength: float = 1.0
    dismissed: bool = False
    woman: bool = True


DEPARTMENTS = (
    (1, "ООО «Тёплый дом»", None),
    (2, "Отдел обработки заявок", 1),
    (3, "Отдел продаж", 1),
    (4, "Отдел партнёров и доставки", 1),
)
ADMIN = 1
DISMISSED = 7
DELIVERY_MANAGERS = (13, 14)
# Named by a few items, never returned by user.get (a bot, an integrator).
UNLISTED_USER = 97

EMPLOYEES = (
    Employee(1, "Администратор", "Портал", "", "Администратор", (1,)),
    Employee(
        2, "Громова", "Светлана", "Игоревна", "Руководитель отдела продаж", (3,), 0, 0.03, 1.3
    ),
    Employee(3, "Лебедева", "Анна", "Павловна", "Менеджер по заявкам", (2,), 0.2, 0.03, 1.15),
    Employee(
        4, "Орлов", "Денис", "Андреевич", "Менеджер по заявкам", (2,), 0.19, 0.03, 0.95, woman=False
    ),
    Employee(5, "Фомина", "Юлия", "Сергеевна", "Менеджер по заявкам", (2, 3), 0.16, 0.08, 1.05),
    Employee(
        6, "Кузьмин", "Артём", "Олегович", "Менеджер по продажам", (3,), 0.1, 0.2, 1.25, woman=False
    ),
    Employee(
        7,
        "Сорокин",
        "Виктор",
        "Ильич",
        "Менеджер по продажам",
        (3,),
        0.08,
        0.12,
        0.7,
        dismissed=True,
        woman=False,
    ),
    Employee(8, "Зайцева", "Мария", "Дмитриевна", "Менеджер по продажам", (3,), 0.08, 0.18, 1.1),
    Employee(
        9,
        "Тихонов",
        "Роман",
        "Евгеньевич",
        "Менеджер по продажам",
        (3,),
        0.07,
        0.14,
        0.85,
        woman=False,
    ),
    Employee(10, "Белова", "Екатерина", "Николаевна", "Менеджер по продажам", (3,), 0.06, 0.1, 1),
    Employee(11, "Гусев", "Максим", "Юрьевич", "Стажёр", (), 0.04, 0.02, 0.75, woman=False),
    Employee(
        12,
        "Ершов",
        "Павел",
        "Константинович",
        "Менеджер по партнёрам",
        (4,),
        0.02,
        0.05,
        1.1,
        woman=False,
    ),
    Employee(13, "Назарова", "Ольга", "Викторовна", "Логист", (4,), 0, 0.02, 1),
    Employee(14, "Дроздов", "Илья", "Петрович", "Логист", (4,), 0, 0, 1, woman=False),
)

CITIES = (
    (None, 0.14),
    ("Москва", 0.27),
    ("Санкт-Петербург", 0.13),
    ("Казань", 0.08),
    ("Нижний Новгород", 0.07),
    ("Екатеринбург", 0.06),
    ("Самара", 0.05),
    ("Тула", 0.04),
    ("Калуга", 0.04),
    ("Рязань", 0.03),
    ("Ярославль", 0.03),
    ("Тверь", 0.03),
    ("Владимир", 0.02),
    ("Набережные Челны", 0.01),
)

MEN = (
    "Александр",
    "Алексей",
    "Андрей",
    "Антон",
    "Владимир",
    "Дмитрий",
    "Евгений",
    "Иван",
    "Кирилл",
    "Михаил",
    "Никита",
    "Олег",
    "Павел",
    "Сергей",
    "Юрий",
)
WOMEN = (
    "Алина",
    "Анастасия",
    "Валентина",
    "Вера",
    "Дарья",
    "Елена",
    "Ирина",
    "Ксения",
    "Людмила",
    "Марина",
    "Наталья",
    "Полина",
    "Татьяна",
    "Яна",
)
# Endings of the woman's form are added to the man's.
LAST_NAMES = (
    "Абрамов",
    "Антонов",
    "Баранов",
    "Васильев",
    "Власов",
    "Гаврилов",
    "Голубев",
    "Данилов",
    "Егоров",
    "Ефимов",
    "Захаров",
    "Калинин",
    "Киселёв",
    "Комаров",
    "Крылов",
    "Макаров",
    "Мельников",
    "Никитин",
    "Осипов",
    "Поляков",
    "Романов",
    "Семёнов",
    "Титов",
    "Фролов",
    "Чернов",
    "Щербаков",
)

COMPANY_FORMS = ("ООО", "ООО", "ООО", "АО", "ИП", "ТСЖ")
COMPANY_STARTS = (
    "Строй",
    "Дом",
    "Окна",
    "Уют",
    "Мега",
    "Евро",
    "Северный",
    "Ремонт",
    "Инвест",
    "Элит",
    "Гор",
    "Техно",
    "Альфа",
    "Вектор",
    "Проф",
    "Лайт",
    "Комфорт",
    "Регион",
)
COMPANY_ENDS = (
    "гарант",
    "сервис",
    "монтаж",
    "проект",
    "групп",
    "стандарт",
    "комплект",
    "торг",
    "-Плюс",
    "дизайн",
    "ресурс",
    "-М",
    "снаб",
    " и К",
)
OWN_COMPANIES = ("ООО «Тёплый дом»", "ИП Громов С. А.")

# Deal user fields: enumeration item ID and label.
DIRECTION_FIELD = "UF_CRM_DIRECTION"
DIRECTIONS = (
    (101, "Частные клиенты"),
    (102, "Застройщики"),
    (103, "Управляющие компании"),
    (104, "Дилеры"),
)
SERVICES_FIELD = "UF_CRM_SERVICES"
SERVICES = (
    (201, "Замер"),
    (202, "Доставка"),
    (203, "Монтаж"),
    (204, "Отделка"),
    (205, "Вывоз мусора"),
)
MEASURE_FIELD = "UF_CRM_MEASURE_DATE"
AREA_FIELD = "UF_CRM_AREA"
LANDING_FIELD = "UF_CRM_LANDING"
LANDINGS = ("/okna", "/balkony", "/lodzhii", "/akcii", "/vitrazhi", "/kontakty", "/")

# Currency, share of the deals, price of one unit in roubles.
CURRENCIES = (
    ("RUB", 0.945, 1.0),
    ("USD", 0.025, 92.45),
    ("EUR", 0.022, 100.1),
    ("KZT", 0.008, 0.1785),
)
# Used by a few deals, not in the portal's reference data.
UNKNOWN_CURRENCY = "BYN"

ACTIVITY_SUBJECTS = (
    "Позвонить клиенту",
    "Отправить КП",
    "Согласовать замер",
    "Уточнить оплату",
    "Встреча в офисе",
    "Напомнить о договоре",
)
